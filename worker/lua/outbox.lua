#!lua flags=allow-oom
-- The oldest item of the outbox; of one that is large only what its job's message asked for, without the result.
-- ARGV: bytes of the largest item that is given whole; or 'done' and the bytes that an item has which is to be removed.
-- Returns: the item; or what there is of it, the state of its job, and how many bytes the item has.
local item = redis.call('LINDEX', 'lakequeue:outbox', 0)
if ARGV[1] == 'done' then
  if item and #item == tonumber(ARGV[2]) then
    redis.call('LPOP', 'lakequeue:outbox')
  end
  return {}
end
if not item or #item <= tonumber(ARGV[1]) then
  return { item }
end
-- The record is written by us without blanks, what comes before it by json.dumps with them.
local from = string.find(item, ',"record":{"status":', 1, true)
if not from then
  return { item }
end
return { string.sub(item, 1, from - 1) .. '}', string.match(item, '^,"record":{"status": ?"(%u+)"', from), #item }
