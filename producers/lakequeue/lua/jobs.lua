#!lua flags=no-writes
-- The first jobs of a table's lanes, and the last that ended. ARGV: table, how many of each at most.
-- Returns: ids in the lane of writes, in that of reads, and of jobs that ended, the newest first.
local function first_of(lane)
  local ids = {}
  for _, message in ipairs(redis.call('LRANGE', 'lakequeue:jobs:' .. lane, 0, tonumber(ARGV[2]) - 1)) do
    local id = string.match(string.sub(message, -4000), '"id": ?"([^"]+)"')
      or string.match(message, '"id": ?"([^"]+)"')
    ids[#ids + 1] = id
  end
  return ids
end

local ended, newest_first = redis.call('LRANGE', 'lakequeue:finished:' .. ARGV[1], -tonumber(ARGV[2]), -1), {}
for i = #ended, 1, -1 do
  newest_first[#newest_first + 1] = ended[i]
end
return { first_of('w:' .. ARGV[1]), first_of('r:' .. ARGV[1]), newest_first }
