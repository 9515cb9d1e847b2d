-- Messages at a list's head: so many, or so few that they are not much more than 8 MB.
local function head_of(list, most)
  local messages, bytes = {}, 0
  while #messages < most and bytes < 8000000 do
    local some = redis.call('LRANGE', list, #messages, math.min(#messages + 10, most) - 1)
    if #some == 0 then
      break
    end
    for _, message in ipairs(some) do
      messages[#messages + 1] = message
      bytes = bytes + #message
    end
  end
  return messages
end

-- A message's headers come after its rows, inside which a quote has a backslash before it.
local function header_of(message, name)
  local pattern = '"' .. name .. '": ?"([^"]+)"'
  return string.match(string.sub(message, -4000), pattern) or string.match(message, pattern)
end

local function id_of(message)
  return header_of(message, 'id')
end
