-- Note jobs of a table that ended: the last few of them can be listed. Their records outlive the list, or not by much.
local function note_ended(table_name, ids, expires)
  if #ids > 0 then
    local key = 'lakequeue:finished:' .. table_name
    redis.call('RPUSH', key, unpack(ids, math.max(1, #ids - 499)))
    redis.call('LTRIM', key, -500, -1)
    redis.call('EXPIRE', key, expires)
  end
end
