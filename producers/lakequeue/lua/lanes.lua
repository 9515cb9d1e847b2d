#!lua flags=no-writes
-- The lanes of partitions, those that wait for the longest time. ARGV: how many of a sort at most, or 0 for all; then
-- partitions.
-- Returns for each partition: its owner's lease or '', the lanes that had no turn yet, by since when, and those that want
-- another turn, the last due first, by when (Unix seconds).
-- include lakequeue/turns
local last = tonumber(ARGV[1]) - 1
local answer = {}
for i = 2, #ARGV do
  local first, again = {}, {}
  for _, kind in ipairs({ 'w', 'r' }) do
    local firsts, others = standing('first', kind, ARGV[i]), standing('next', kind, ARGV[i])
    for _, each in ipairs(redis.call('ZRANGE', firsts, 0, last, 'WITHSCORES')) do
      first[#first + 1] = each
    end
    for _, each in ipairs(redis.call('ZRANGE', others, 0, last, 'REV', 'WITHSCORES')) do
      again[#again + 1] = each
    end
  end
  local lease = redis.call('GET', 'lakequeue:lease:' .. ARGV[i]) or ''
  answer[#answer + 1] = { lease, first, again }
end
return answer
