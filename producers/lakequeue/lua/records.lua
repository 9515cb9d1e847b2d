#!lua flags=no-writes
-- Jobs' records, without the rows that reads brought. ARGV: ids. Returns for each its record, or false.
-- The rows come first in a record's result; the receipt and what else is told of the job come after them.
local answers = {}
for _, id in ipairs(ARGV) do
  local record = redis.call('GET', 'celery-task-meta-' .. id)
  local head = record and string.match(record, '^{"status": ?"%u+", ?"result": ?{"data":')
  if head then
    -- Inside the rows a quote has a backslash before it, or is a column's: what is found last is the receipt's.
    local tail, from, last = string.sub(record, -30000), 1, nil
    while true do
      local at = string.find(tail, ',"receipt":{', from, true)
      if not at then break end
      last, from = at, at + 1
    end
    record = last and head .. 'null' .. string.sub(tail, last) or '{"status":"SUCCESS","result":null}'
  end
  answers[#answers + 1] = record
end
return answers
