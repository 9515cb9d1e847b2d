#!lua flags=allow-oom
-- Store outcomes, keep dead letters, and remove the settled messages: all of it, or nothing.
-- ARGV: lease, partition, lane, batch, messages to remove, seconds a finished record lives, Unix seconds now,
--   attempts so far, Unix milliseconds until which the lane waits, error code (attempts '' if it does not wait),
--   '1' if the lane goes on failing by an error that says nothing of any job,
--   number of outcomes, then for each: id, '1' if final, record; then for each dead letter: id, JSON.
-- The first final outcome of a job wins; what follows the job goes into the outbox with it.
-- Returns how many messages the lane holds now; -1 if it was settled before.
local lease, partition, lane, batch = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= lease then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
local frozen = 'lakequeue:frozen:' .. lane
if redis.call('HGET', frozen, 'batch') ~= batch then
  return -1
end
-- include lakequeue/letters_kept
-- include lakequeue/state
-- include lakequeue/turns
-- include lakequeue/ended
local table_name = string.sub(lane, 3)
local outcomes = tonumber(ARGV[12])
local counted = 'lakequeue:counted:' .. lane
if redis.call('EXISTS', counted) == 1 then
  for i = 13, 12 + outcomes * 3, 3 do
    if ARGV[i + 1] == '1' then
      redis.call('HDEL', counted, ARGV[i])
    end
  end
end
local ended = {} -- before: a letter belongs to the outcome it came with, and may have been replayed or dropped since
local done, waiting, committed = {}, {}, false
local any_callbacks = redis.call('EXISTS', 'lakequeue:callbacks') == 1
for i = 13, 12 + outcomes * 3, 3 do
  local key = 'celery-task-meta-' .. ARGV[i]
  if is_final(state_of(ARGV[i])) then
    ended[ARGV[i]] = true
  else
    if ARGV[i + 1] == '1' then
      done[#done + 1] = ARGV[i]
      committed = committed or string.match(ARGV[i + 2], '^{"status": ?"SUCCESS"') ~= nil
      redis.call('SET', key, ARGV[i + 2], 'EX', ARGV[6])
      redis.call('PUBLISH', key, ARGV[i + 2])
      local callbacks = any_callbacks and redis.call('HGET', 'lakequeue:callbacks', ARGV[i])
      if callbacks then
        redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. ARGV[i + 2] .. '}')
        redis.call('HDEL', 'lakequeue:callbacks', ARGV[i])
      end
    else
      waiting[#waiting + 1] = ARGV[i]
      redis.call('SET', key, ARGV[i + 2])
    end
  end
end
for i = 13 + outcomes * 3, #ARGV, 2 do
  if not ended[ARGV[i]] then
    bury(ARGV[i], ARGV[i + 1], ARGV[7])
  end
end
local list = 'lakequeue:jobs:' .. lane
if tonumber(ARGV[5]) > 0 then
  redis.call('LTRIM', list, ARGV[5], -1)
  if redis.call('HEXISTS', 'lakequeue:purges', lane) == 1
    and redis.call('HINCRBY', 'lakequeue:purges', lane, -ARGV[5]) <= 0 then
    redis.call('HDEL', 'lakequeue:purges', lane)
  end
end
note_ended(table_name, done, ARGV[6])
if committed and string.sub(lane, 1, 1) == 'w' then
  redis.call('HSET', 'lakequeue:commits', table_name, ARGV[7])
end
redis.call('DEL', frozen, 'lakequeue:wait:' .. lane)
if ARGV[11] ~= '1' then
  redis.call('HDEL', 'lakequeue:failing', lane)
end
if ARGV[8] ~= '' then
  redis.call('HSET', 'lakequeue:wait:' .. lane, 'attempts', ARGV[8], 'until', ARGV[9], 'error', ARGV[10],
    'jobs', #waiting)
  if #waiting > 0 then
    count_error('RETRY', ARGV[10], table_name, #waiting, waiting[#waiting], ARGV[7])
  end
end
local left = redis.call('LLEN', list)
redis.call('SREM', 'lakequeue:hand:' .. string.match(lease, '^(.*)#%d+$'), lane)
local load = 'lakequeue:load:' .. lane
local limit = tonumber(redis.call('HGET', load, 'limit') or 0)
if ARGV[8] ~= '' then
  redis.call('HDEL', load, 'by')
elseif left > 0 and limit > 0 and limit < 8192 then
  -- A worker died here: what is taken at once grows again as it goes well.
  redis.call('HSET', load, 'limit', limit * 2)
  redis.call('HDEL', load, 'by', 'alone', 'unanswered', 'beside')
else
  redis.call('DEL', load)
end
local wait_s = ARGV[8] ~= '' and math.max(0, tonumber(ARGV[9]) / 1000 - tonumber(ARGV[7])) or 0
want_turn(lane, partition, left > 0 and clock() + wait_s)
return left
