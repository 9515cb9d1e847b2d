#!lua flags=no-writes
-- Delayed jobs of lanes. ARGV: cursor, how many to look at, lanes. Returns: the cursor to go on with, and ids.
local wanted = {}
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
end
local cursor, found = unpack(redis.call('HSCAN', 'lakequeue:eta:jobs', ARGV[1], 'COUNT', ARGV[2]))
local ids = {}
for i = 1, #found, 2 do
  if wanted[string.match(found[i + 1], '^%d+ (%S+)\n') or ''] then
    ids[#ids + 1] = found[i]
  end
end
return { cursor, ids }
