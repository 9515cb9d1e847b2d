#!lua flags=no-writes
-- Messages in the lists of other Celery applications. ARGV: the lists that workers always drain.
-- Returns: how many wait in lists that workers drain; of each other one that holds any: its name, how many, the remedy.
local taken, unread = 0, {}

local function length_of(list)
  local length = redis.pcall('LLEN', list)
  return type(length) == 'number' and length or 0
end

for i = 1, #ARGV do
  taken = taken + length_of(ARGV[i])
end
local known = redis.call('HGETALL', 'lakequeue:lists')
for i = 1, #known, 2 do
  local length = length_of(known[i])
  if known[i + 1] == '' then
    taken = taken + length
  elseif length > 0 then
    unread[#unread + 1] = { known[i], length, known[i + 1] }
  end
end
return { taken, unread }
