#!lua flags=allow-oom
-- Have all messages that a lane holds now thrown away, by the worker that owns it. ARGV: lane, partition.
-- Returns how many there are, without those under way.
-- include lakequeue/turns
local lane = ARGV[1]
local length = redis.call('LLEN', 'lakequeue:jobs:' .. lane)
if length == 0 then
  return 0
end
-- Who removes messages from the head, settled or purged, counts this down: later ones are never reached.
redis.call('HSET', 'lakequeue:purges', lane, length)
hurry(lane, ARGV[2])
redis.call('PUBLISH', 'lakequeue:wake', 'anew ' .. ARGV[2])
local frozen = redis.call('HMGET', 'lakequeue:frozen:' .. lane, 'jobs', 'span')
return math.max(0, length - tonumber(frozen[1] or frozen[2] or 0))
