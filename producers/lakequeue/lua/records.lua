#!lua flags=no-writes
-- Jobs' records, without the rows that reads brought. ARGV: ids. Returns for each its record, or false.
-- The rows come first in a record's result; the receipt and what else is told of the job come after them.
local answers = {}
for _, id in ipairs(ARGV) do
  local key, record = 'celery-task-meta-' .. id, nil
  local head = string.match(redis.call('GETRANGE', key, 0, 99), '^{"status": ?"%u+", ?"result": ?{"data":')
  if not head then
    record = redis.call('GET', key)
  else
    -- Inside the rows a quote has a backslash before it, or is a column's: what is found last is the receipt's.
    local tail, from, last = redis.call('GETRANGE', key, -30000, -1), 1, nil
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
