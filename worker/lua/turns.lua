#!lua flags=no-writes
-- Lanes of partitions that want a turn: a few of many. ARGV: how many seconds ahead; then for each partition: its number,
-- and how many lanes of each sort at most.
-- Returns: Unix seconds now; then for each partition, for its lanes of writes and for those of reads: the lanes that had
-- no turn yet and wait for the longest time, the others of them that are there since the shortest, and those that want
-- another turn, the first due first. Each with when that was, or is, in Unix seconds.
-- include lakequeue/turns
local now = clock()
local answer = { string.format('%.6f', now) }
for i = 2, #ARGV, 2 do
  local most = tonumber(ARGV[i + 1])
  for _, kind in ipairs({ 'w', 'r' }) do
    local first = standing('first', kind, ARGV[i])
    local more = math.min(most, redis.call('ZCARD', first) - most)
    answer[#answer + 1] = redis.call('ZRANGE', first, 0, most - 1, 'WITHSCORES')
    answer[#answer + 1] = more > 0 and redis.call('ZRANGE', first, 0, more - 1, 'REV', 'WITHSCORES') or {}
    answer[#answer + 1] = redis.call('ZRANGEBYSCORE', standing('next', kind, ARGV[i]), '-inf',
      string.format('%.6f', now + tonumber(ARGV[1])), 'WITHSCORES', 'LIMIT', 0, most)
  end
end
return answer
