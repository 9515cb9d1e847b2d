#!lua flags=allow-oom
-- The oldest messages (the right end) of the first list that holds any.
-- ARGV: how many messages at most, bytes after which to stop, then lists.
-- Returns: list, its messages, oldest first; or nothing.
for i = 3, #ARGV do
  local found, size = {}, 0
  while #found < tonumber(ARGV[1]) and size < tonumber(ARGV[2]) do
    local message = redis.call('LINDEX', ARGV[i], -1 - #found)
    if not message then break end
    found[#found + 1] = message
    size = size + #message
  end
  if #found > 0 then
    return { ARGV[i], found }
  end
end
return {}
