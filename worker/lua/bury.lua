-- A place in the index that no other letter has: those that come together keep their order.
local function bury(id, letter, now)
  local last = redis.call('ZRANGE', 'lakequeue:dead:index', -1, -1, 'WITHSCORES')[2]
  local place = math.max(tonumber(now), last and tonumber(last) + 0.000002 or 0)
  redis.call('HSET', 'lakequeue:dead', id, letter)
  redis.call('ZADD', 'lakequeue:dead:index', string.format('%.6f', place), id)
end
