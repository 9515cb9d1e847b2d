-- Put dead letters in their place and take them out of it, counting them by table.
local function letters_of(table_name, by)
  if redis.call('HINCRBY', 'lakequeue:dead:tables', table_name, by) <= 0 then
    redis.call('HDEL', 'lakequeue:dead:tables', table_name)
  end
end

-- A letter begins with its id and table; what it holds of the job comes last.
local function table_of_letter(letter)
  local plain = string.match(letter, '^{"id":"[^"\\]*","table":"([^"\\]*)"')
  if plain then
    return plain
  end
  local ok, read = pcall(cjson.decode, letter)
  return ok and type(read) == 'table' and type(read['table']) == 'string' and read['table'] or ''
end

-- The bytes of a message that no worker reads are kept beside its letter.
local function large_key(id)
  return 'lakequeue:dead:large:' .. id
end

local function unbury(id)
  local letter = redis.call('HGET', 'lakequeue:dead', id)
  if letter then
    letters_of(table_of_letter(letter), -1)
  end
  redis.call('HDEL', 'lakequeue:dead', id)
  redis.call('UNLINK', large_key(id))
  redis.call('ZREM', 'lakequeue:dead:index', id)
end

-- So many jobs met an error of a class. What is kept of it serves who asks what went wrong lately.
local function count_error(state, class, table_name, jobs, id, now)
  local key = 'lakequeue:errors:' .. math.floor(tonumber(now) / 60)
  local name = state .. ' ' .. class .. ' ' .. table_name
  redis.call('HINCRBY', key, name, jobs)
  redis.call('HSET', key, 'id ' .. name, id)
  redis.call('EXPIRE', key, 259200)
end

-- A letter's place in the index is one that no other has: those that come together keep their order.
local function bury(id, letter, now)
  unbury(id)
  local last = redis.call('ZRANGE', 'lakequeue:dead:index', -1, -1, 'WITHSCORES')[2]
  local place = math.max(tonumber(now), last and tonumber(last) + 0.000002 or 0)
  redis.call('HSET', 'lakequeue:dead', id, letter)
  redis.call('ZADD', 'lakequeue:dead:index', string.format('%.6f', place), id)
  local table_name = table_of_letter(letter)
  letters_of(table_name, 1)
  count_error('FAILURE', string.match(letter, '"error":"([^" ]+)"') or 'UNKNOWN', table_name, 1, id, now)
end
