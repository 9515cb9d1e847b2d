-- Make a lane's first message a dead letter that no worker reads: its bytes move inside Redis. Nothing is frozen there.
-- ARGV: lease, partition, lane, seconds a finished record lives, Unix seconds now, the message's size, its two ends, its
--   job's id or '', record, dead letter's id, dead letter; and id and letter for a job that has its outcome already.
-- Returns how many messages the lane holds then; -1 if another one is its first. Not allowed when memory is full: then
-- it stays.
local lease, partition, lane = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= lease then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
if redis.call('EXISTS', 'lakequeue:frozen:' .. lane) == 1 then
  return redis.error_reply('FROZEN ' .. lane .. ' holds a batch')
end

-- include lakequeue/letters_kept
-- include lakequeue/ended
-- include lakequeue/turns

local list, id = 'lakequeue:jobs:' .. lane, ARGV[9]
local message = redis.call('LINDEX', list, 0)
if not message or #message ~= tonumber(ARGV[6]) or string.sub(message, 1, #ARGV[7]) ~= ARGV[7]
  or string.sub(message, -#ARGV[8]) ~= ARGV[8] then
  return -1
end
local key = 'celery-task-meta-' .. id
local record = id ~= '' and redis.call('GET', key)
local state = record and string.match(record, '^{"status": ?"(%u+)"')
local letter_id, letter = ARGV[11], ARGV[12]
if state == 'SUCCESS' or state == 'FAILURE' or state == 'REVOKED' then
  letter_id, letter = ARGV[13], ARGV[14]
  redis.call('EXPIRE', key, ARGV[4])
elseif id ~= '' then
  redis.call('SET', key, ARGV[10], 'EX', ARGV[4])
  redis.call('PUBLISH', key, ARGV[10])
  local callbacks = redis.call('HGET', 'lakequeue:callbacks', id)
  if callbacks then
    redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. ARGV[10] .. '}')
    redis.call('HDEL', 'lakequeue:callbacks', id)
  end
  note_ended(string.sub(lane, 3), { id }, ARGV[4])
end
bury(letter_id, letter, ARGV[5])
redis.call('LMOVE', list, large_key(letter_id), 'LEFT', 'RIGHT')
if redis.call('HEXISTS', 'lakequeue:purges', lane) == 1
  and redis.call('HINCRBY', 'lakequeue:purges', lane, -1) <= 0 then
  redis.call('HDEL', 'lakequeue:purges', lane)
end
redis.call('DEL', 'lakequeue:wait:' .. lane, 'lakequeue:load:' .. lane)
redis.call('SREM', 'lakequeue:hand:' .. string.match(lease, '^(.*)#%d+$'), lane)
local left = redis.call('LLEN', list)
want_turn(lane, partition, left > 0 and clock())
return left
