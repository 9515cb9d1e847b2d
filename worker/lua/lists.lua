#!lua flags=no-writes
-- A part of the keys: the lists that hold jobs sent by other Celery applications. ARGV: cursor, how many keys to look at.
-- Returns: the cursor to go on with; the names of lists whose messages say that they were sent to the queue `records`;
--   those of lists with messages of our tasks that were sent to another queue.
local function says(message, texts)
  for _, text in ipairs(texts) do
    if message and string.find(message, text, 1, true) then return true end
  end
  return false
end

local QUEUE = { '"routing_key": "records"', '"routing_key":"records"' }
local TASKS = { '"records.write"', '"records.update"', '"records.delete"', '"records.read"' }
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2], 'TYPE', 'list')
local of_queue, of_others = {}, {}
for _, name in ipairs(found[2]) do
  if string.sub(name, 1, 10) ~= 'lakequeue:' then
    local oldest, newest = redis.call('LINDEX', name, -1), redis.call('LINDEX', name, 0)
    if says(oldest, QUEUE) or says(newest, QUEUE) then
      of_queue[#of_queue + 1] = name
    elseif says(oldest, TASKS) or says(newest, TASKS) then
      of_others[#of_others + 1] = name
    end
  end
end
return { found[1], of_queue, of_others }
