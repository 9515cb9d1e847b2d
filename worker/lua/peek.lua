#!lua flags=allow-oom
-- The oldest messages (the right end) of the first list that holds any, noted as in this worker's hand.
-- ARGV: token, how many messages at most, bytes after which to stop, bytes of the largest message that is handed out,
--   bytes of each end of one that is not, deaths alone after which a message is not handed out, then lists.
-- Who asks again, or says that it stops, has survived what it had. Who is no longer alive has died at it: half as many
-- messages are taken then, by one worker at a time, until it goes well; a death with one message is counted for it.
-- Returns: list, its messages, oldest first; or list, nothing, and of the oldest message that is not handed out its
--   size, its two ends, and how many workers died with it. Nothing at all if there is none, or another worker is at it.
local token, most = ARGV[1], tonumber(ARGV[2])
local hands, state = 'lakequeue:door:hands', 'lakequeue:door:deaths'

local function lives(worker)
  local until_s = redis.call('ZSCORE', 'lakequeue:workers', worker)
  local time = redis.call('TIME')
  return until_s and tonumber(until_s) > tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- A note is how many messages, and of one alone its SHA-1.
local mine = redis.call('HGET', hands, token)
if mine then
  redis.call('HDEL', hands, token)
  local limit = tonumber(redis.call('HGET', state, 'limit') or 0)
  if limit > 0 then
    local alone = string.match(mine, ' (%x+)$')
    if alone then
      redis.call('HDEL', state, alone)
    end
    if limit * 2 >= most then
      redis.call('HDEL', state, 'limit')
    else
      redis.call('HSET', state, 'limit', limit * 2)
    end
  end
end
if #ARGV < 7 then
  return {}
end
local held = redis.call('HGETALL', hands)
local limit = tonumber(redis.call('HGET', state, 'limit') or 0)
local waits = false
for i = 1, #held, 2 do
  if lives(held[i]) then
    waits = true
  else
    local size, alone = string.match(held[i + 1], '^(%d+) ?(%x*)$')
    redis.call('HDEL', hands, held[i])
    limit = math.max(1, math.floor(tonumber(size) / 2))
    redis.call('HSET', state, 'limit', limit)
    if alone ~= '' then
      redis.call('HINCRBY', state, alone, 1)
    end
    redis.call('EXPIRE', state, 86400)
  end
end
if limit > 0 and waits then
  return {}
end
if limit > 0 then
  most = math.min(most, limit)
end
for i = 7, #ARGV do
  local list = ARGV[i]
  local found, size = {}, 0
  while #found < most and size < tonumber(ARGV[3]) do
    local message = redis.call('LINDEX', list, -1 - #found)
    if not message then break end
    local large = #message > tonumber(ARGV[4])
    local suspect = limit > 0 and not large and #found == 0 and redis.sha1hex(message)
    local deaths = suspect and tonumber(redis.call('HGET', state, suspect) or 0) or 0
    if large or deaths >= tonumber(ARGV[6]) then
      if #found > 0 then break end
      return { list, {}, #message, string.sub(message, 1, ARGV[5]), string.sub(message, -tonumber(ARGV[5])), deaths }
    end
    found[#found + 1] = message
    size = size + #message
  end
  if #found > 0 then
    redis.call('HSET', hands, token, #found == 1 and '1 ' .. redis.sha1hex(found[1]) or #found)
    return { list, found }
  end
end
return {}
