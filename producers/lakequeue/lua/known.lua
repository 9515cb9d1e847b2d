-- What the record of a job says of it; nil if there is none, and nothing if it cannot be read. The rows of a read come
-- first in its record and may be tens of megabytes: they are left out.
local function told_of(id)
  local key = 'celery-task-meta-' .. id
  local size = redis.call('STRLEN', key)
  if size == 0 then
    return nil
  end
  local text
  if size > 100000 then
    -- What comes last of this name is the record's own: inside the rows it is a column's, or has a backslash before it.
    local tail, from, last = redis.call('GETRANGE', key, -60000, -1), 1, nil
    while true do
      local at = string.find(tail, ',"task_id":"', from, true)
      if not at then break end
      last, from = at, at + 1
    end
    text = last and '{"status":"' .. state_of(id) .. '"' .. string.sub(tail, last)
  end
  local ok, told = pcall(cjson.decode, text or redis.call('GET', key))
  return ok and type(told) == 'table' and told or {}
end
