#!lua flags=no-writes
-- The first jobs of a table's lanes, and the last that ended. ARGV: table, how many of each at most. Of messages that are
-- long fewer are looked at.
-- Returns: ids in the lane of writes, in that of reads, and of jobs that ended, the newest first.
-- include lakequeue/messages

local function first_of(lane)
  local ids = {}
  for _, message in ipairs(head_of('lakequeue:jobs:' .. lane, tonumber(ARGV[2]))) do
    ids[#ids + 1] = id_of(message)
  end
  return ids
end

local ended, newest_first = redis.call('LRANGE', 'lakequeue:finished:' .. ARGV[1], -tonumber(ARGV[2]), -1), {}
for i = #ended, 1, -1 do
  newest_first[#newest_first + 1] = ended[i]
end
return { first_of('w:' .. ARGV[1]), first_of('r:' .. ARGV[1]), newest_first }
