#!lua flags=allow-oom
-- A worker has let go of a lane without settling anything, alive. ARGV: lease, lane.
local load, token = 'lakequeue:load:' .. ARGV[2], string.match(ARGV[1], '^(.*)#%d+$')
if redis.call('HGET', load, 'by') == token then
  redis.call('HDEL', load, 'by')
end
redis.call('SREM', 'lakequeue:hand:' .. token, ARGV[2])
return 1
