-- Messages of a list from a place on (0: its head): so many, or fewer that are no more than so many bytes. One is read
-- however long it is, unless `none` may be.
local function messages_from(list, from, most, most_bytes, none)
  local messages, bytes = {}, 0
  while #messages < most do
    local step = #messages == 0 and 1 or math.max(1, math.min(32, (most_bytes - bytes) / (bytes / #messages + 1)))
    local at = from + #messages
    local some = redis.call('LRANGE', list, at, at + math.min(math.floor(step), most - #messages) - 1)
    for _, message in ipairs(some) do
      bytes = bytes + #message
      if bytes > most_bytes and (#messages > 0 or none) then
        return messages
      end
      messages[#messages + 1] = message
    end
    if #some == 0 or bytes >= most_bytes then
      break
    end
  end
  return messages
end

local function head_of(list, most)
  return messages_from(list, 0, most, 8000000)
end

-- A message's headers come after its rows, inside which a quote has a backslash before it.
local function header_of(message, name)
  local pattern = '"' .. name .. '": ?"([^"]+)"'
  return string.match(string.sub(message, -4000), pattern) or string.match(message, pattern)
end

local function id_of(message)
  return header_of(message, 'id')
end
