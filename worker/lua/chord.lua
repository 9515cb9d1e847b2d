#!lua flags=allow-oom
-- Count one part of a chord in Celery's own keys. With the last part, the entry for the body goes into the outbox.
-- KEYS: results, difference of the size, size, ids that are counted, group, claim.
-- ARGV: id, encoded result, place in the header or '+inf', seconds the keys live, seconds the group lives, the claim's
--   value, size by the message or '', entry for the outbox.
-- The counting is that of `CHORD_PART_RETURN_LUA` (celery 5.7, `celery/backends/redis.py`), so parts that other Celery
-- workers return count as well. Their claim runs out, ours does not: the entry in the outbox outlives every worker.
-- Returns 1 if the body is in the outbox by this call, else 0.
local results, difference, size_key, counted, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', claim) == 'done' then
  return 0
end
-- Whoever counted the first part has chosen the type (`result_chord_ordered`).
local unordered = redis.call('TYPE', results).ok == 'list'
local member = ARGV[1] .. ':' .. ARGV[3]
if redis.call('SISMEMBER', counted, member) == 0 then
  if unordered then
    redis.call('RPUSH', results, ARGV[2])
  else
    redis.call('ZADD', results, ARGV[3], ARGV[2])
  end
  redis.call('SADD', counted, member)
end
if tonumber(ARGV[4]) > 0 then
  for _, key in ipairs({ results, difference, size_key, counted }) do
    redis.call('EXPIRE', key, ARGV[4])
  end
  if tonumber(ARGV[5]) > 0 then
    redis.call('EXPIRE', group, ARGV[5])
  end
end
local size = tonumber(redis.call('GET', size_key) or ARGV[7])
local ready = unordered and redis.call('LLEN', results) or redis.call('ZCARD', results)
if not size or ready ~= size + tonumber(redis.call('GET', difference) or 0) then
  return 0
end
if not redis.call('SET', claim, ARGV[6], 'NX') then
  return 0
end
for _, key in ipairs({ results, difference, size_key, counted, group }) do
  redis.call('PERSIST', key)
end
redis.call('RPUSH', 'lakequeue:outbox', ARGV[8])
return 1
