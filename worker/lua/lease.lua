#!lua flags=allow-oom
-- Renew a worker's leases and take its fair share of the free ones.
-- ARGV: token, time to live in ms, partitions in all, 'all', 'mine' (take only what was this worker's last) or 'none'
--   (it leaves: renew what it still has).
-- A lease's value is the token and a number that rises with every taking: what was begun under an earlier lease of the
-- same worker is refused under a later one.
-- Returns: fair share, workers alive, then each partition this worker owns now with its lease.
local token, ttl = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
if ARGV[4] == 'none' then
  redis.call('ZREM', 'lakequeue:workers', token)
else
  redis.call('ZADD', 'lakequeue:workers', string.format('%.3f', now + ttl / 1000), token)
end
redis.call('ZREMRANGEBYSCORE', 'lakequeue:workers', '-inf', string.format('(%.3f', now))
local alive = redis.call('ZCARD', 'lakequeue:workers')
local count = tonumber(ARGV[3])
local fair = math.ceil(count / math.max(alive, 1))
local mark = token .. '#'
local owned, free = {}, {}
for p = 0, count - 1 do
  local key = 'lakequeue:lease:' .. p
  local owner = redis.call('GET', key)
  if owner and string.sub(owner, 1, #mark) == mark then
    redis.call('PEXPIRE', key, ttl)
    owned[#owned + 1] = p
    owned[#owned + 1] = owner
  elseif not owner and ARGV[4] ~= 'none' then
    local last = redis.call('HGET', 'lakequeue:owners', tostring(p))
    if last == token then
      table.insert(free, 1, p)
    elseif ARGV[4] == 'all' then
      free[#free + 1] = p
    end
  end
end
for _, p in ipairs(free) do
  if #owned / 2 >= fair then break end
  local lease = mark .. redis.call('INCR', 'lakequeue:leases')
  redis.call('SET', 'lakequeue:lease:' .. p, lease, 'PX', ttl)
  redis.call('HSET', 'lakequeue:owners', tostring(p), token)
  owned[#owned + 1] = p
  owned[#owned + 1] = lease
end
return { fair, alive, unpack(owned) }
