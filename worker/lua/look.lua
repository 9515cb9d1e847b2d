#!lua flags=allow-oom
-- What there is to do in a lane: its frozen batch, its wait, and the messages at its head.
-- ARGV: lease, partition, lane, first, last.
if redis.call('GET', 'lakequeue:lease:' .. ARGV[2]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST partition ' .. ARGV[2])
end
return {
  redis.call('HGETALL', 'lakequeue:frozen:' .. ARGV[3]),
  redis.call('HGETALL', 'lakequeue:wait:' .. ARGV[3]),
  redis.call('LRANGE', 'lakequeue:jobs:' .. ARGV[3], ARGV[4], ARGV[5]),
}
