#!lua flags=allow-oom
-- Throw away messages at a lane's head that were purged: their jobs are revoked. Nothing is frozen there.
-- ARGV: lease, partition, lane, how many at most, seconds a finished record lives, now (ISO 8601).
-- Returns: how many are still to be thrown away, how many messages the lane holds then, and of each job that ends by it,
--   in one list: id, task, '1' if it had been begun.
local lease, partition, lane = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= lease then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
if redis.call('EXISTS', 'lakequeue:frozen:' .. lane) == 1 then
  return redis.error_reply('FROZEN ' .. lane .. ' holds a batch')
end

-- include lakequeue/revoked
-- include lakequeue/ended
-- include lakequeue/messages
-- include lakequeue/turns

local list = 'lakequeue:jobs:' .. lane
local to_go = tonumber(redis.call('HGET', 'lakequeue:purges', lane) or 0)
local messages = head_of(list, math.min(to_go, tonumber(ARGV[4])))
local told, gone = {}, {}
for _, message in ipairs(messages) do
  local id = id_of(message)
  local state = id and state_of(id)
  local function tell()
    told[#told + 1] = id
    told[#told + 1] = string.match(record_of(id), '"name": ?"([^"]+)"') or ''
    told[#told + 1] = state ~= 'QUEUED' and state ~= 'REVOKED' and '1' or ''
  end
  if state == 'REVOKED' then
    if redis.call('TTL', 'celery-task-meta-' .. id) == -1 then
      tell() -- cancelled before, which nobody has told of
    end
    redis.call('EXPIRE', 'celery-task-meta-' .. id, ARGV[5])
  elseif id and state ~= 'UNKNOWN' and state ~= 'SUCCESS' and state ~= 'FAILURE' then
    -- STARTED, too: nothing being frozen, it was in a batch that was cut, and its part was not sent any more.
    tell()
    revoke(id, 'purged', ARGV[6], ARGV[5])
    gone[#gone + 1] = id
  end
end
note_ended(string.sub(lane, 3), gone, ARGV[5])
if #messages > 0 then
  redis.call('LTRIM', list, #messages, -1)
end
local left = redis.call('LLEN', list)
to_go = math.min(to_go - #messages, left)
if to_go > 0 then
  redis.call('HSET', 'lakequeue:purges', lane, to_go)
else
  redis.call('HDEL', 'lakequeue:purges', lane)
end
redis.call('DEL', 'lakequeue:wait:' .. lane, 'lakequeue:load:' .. lane)
want_turn(lane, partition, left > 0 and clock())
return { math.max(to_go, 0), left, told }
