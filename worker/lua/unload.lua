#!lua flags=allow-oom
-- A worker has let go of a lane without settling anything, alive. ARGV: lease, partition, lane, in how many seconds it
-- wants its next turn, or ''.
-- include lakequeue/turns
local partition, lane = ARGV[2], ARGV[3]
local load, token = 'lakequeue:load:' .. lane, string.match(ARGV[1], '^(.*)#%d+$')
if redis.call('HGET', load, 'by') == token then
  redis.call('HDEL', load, 'by')
end
redis.call('SREM', 'lakequeue:hand:' .. token, lane)
if ARGV[4] ~= '' and redis.call('GET', 'lakequeue:lease:' .. partition) == ARGV[1]
  and redis.call('EXISTS', 'lakequeue:jobs:' .. lane) == 1 then
  want_turn(lane, partition, clock() + tonumber(ARGV[4]))
end
return 1
