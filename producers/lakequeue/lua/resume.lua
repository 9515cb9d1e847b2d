#!lua flags=allow-oom
-- Go on with a paused table at once, also when Redis is full. ARGV: table, partition. Returns 1 if it was paused.
-- include lakequeue/turns
local was = redis.call('HDEL', 'lakequeue:paused', ARGV[1])
redis.call('HDEL', 'lakequeue:paused:by', ARGV[1])
redis.call('HDEL', 'lakequeue:failing', 'w:' .. ARGV[1], 'r:' .. ARGV[1])
hurry('w:' .. ARGV[1], ARGV[2])
hurry('r:' .. ARGV[1], ARGV[2])
redis.call('PUBLISH', 'lakequeue:wake', 'anew ' .. ARGV[2])
return was
