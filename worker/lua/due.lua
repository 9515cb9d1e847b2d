#!lua flags=allow-oom
-- Move delayed jobs that are due into their lanes, the earliest first. ARGV: Unix seconds now, how many at most.
-- Returns how many there were. A cancelled job is not among them: cancelling takes it out.

-- include lakequeue/push

local ids = redis.call('ZRANGEBYSCORE', 'lakequeue:eta', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local stored = redis.call('HGET', 'lakequeue:eta:jobs', id)
  if stored then
    local partition, lane, start = string.match(stored, '^(%d+) (%S+)\n()')
    push(lane, partition, string.sub(stored, start))
  end
  redis.call('ZREM', 'lakequeue:eta', id)
  redis.call('HDEL', 'lakequeue:eta:jobs', id)
end
return #ids
