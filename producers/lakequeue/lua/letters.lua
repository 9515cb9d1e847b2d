#!lua flags=no-writes
-- A page of dead letters, oldest first, without their payloads: what one call looks at is bounded, not what it finds.
-- ARGV: letters to look at, bytes to look at, letters to find, place to go on after or '-inf', place of the last or
--   '+inf', table or '', error class or ''; then ids, if those alone are wanted.
-- A letter's place is its score in the index, which no other letter has.
-- Returns: the place to go on after (of ids: the id), or '' if that was all; then for each letter found: id, place, JSON.
local most, most_bytes, most_found = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local after, last, wanted_table, wanted_error = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local index = 'lakequeue:dead:index'

-- The payload comes last. Inside a JSON text a quote has a backslash before it, so what is found last is the payload's
-- own name.
local function without_payload(letter)
  local cut, from = nil, 1
  while true do
    local at = string.find(letter, ',"message', from, true)
    if not at then break end
    if string.find(letter, '^,"message":"', at) or string.find(letter, '^,"message_base64":"', at) then
      cut = at
    end
    from = at + 1
  end
  return cut and string.sub(letter, 1, cut - 1) .. '}' or letter
end

local function wanted(letter)
  if wanted_table == '' and wanted_error == '' then
    return true
  end
  local ok, read = pcall(cjson.decode, letter)
  return ok and type(read) == 'table'
    and (wanted_table == '' or read['table'] == wanted_table)
    and (wanted_error == '' or read['error'] == wanted_error or read['error_class'] == wanted_error)
end

local places
if ARGV[8] then
  places = {}
  for i = 8, #ARGV do
    local place = redis.call('ZSCORE', index, ARGV[i])
    if place and (after == '-inf' or tonumber(place) > tonumber(after))
      and (last == '+inf' or tonumber(place) <= tonumber(last)) then
      places[#places + 1] = ARGV[i]
      places[#places + 1] = place
    end
  end
else
  local from = after == '-inf' and after or '(' .. after
  places = redis.call('ZRANGEBYSCORE', index, from, last, 'WITHSCORES', 'LIMIT', 0, most)
end

local answer, bytes = { '' }, 0
for i = 1, #places, 2 do
  if bytes >= most_bytes or #answer > most_found * 3 then
    answer[1] = ARGV[8] and places[i - 2] or places[i - 1]
    return answer
  end
  local letter = redis.call('HGET', 'lakequeue:dead', places[i])
  if letter then
    bytes = bytes + #letter
    local shown = without_payload(letter)
    if wanted(shown) then
      answer[#answer + 1] = places[i]
      answer[#answer + 1] = places[i + 1]
      answer[#answer + 1] = shown
    end
  end
end
if not ARGV[8] and #places == most * 2 then
  answer[1] = places[#places]
end
return answer
