-- Make the oldest message of one of kombu's lists a dead letter that no worker reads: its bytes move inside Redis.
-- ARGV: list, seconds a finished record lives, Unix seconds now, the message's size, its two ends, its sender's id or '',
--   record, callbacks or '', dead letter's id, dead letter; and id and letter for one whose sender's id is known already; how many workers died with the message.
-- Returns `ended`; `known` if the job of that id goes on as it is; `gone` if another message is the oldest now. Not
-- allowed when memory is full: then it stays.

-- include lakequeue/letters_kept

local list, key = ARGV[1], 'celery-task-meta-' .. ARGV[7]
local message = redis.call('LINDEX', list, -1)
if not message or #message ~= tonumber(ARGV[4]) or string.sub(message, 1, #ARGV[5]) ~= ARGV[5]
  or string.sub(message, -#ARGV[6]) ~= ARGV[6] then
  return 'gone'
end
local known = ARGV[7] ~= '' and redis.call('EXISTS', key) == 1
local letter_id, letter = ARGV[10], ARGV[11]
if known then
  letter_id, letter = ARGV[12], ARGV[13]
elseif ARGV[7] ~= '' then
  redis.call('SET', key, ARGV[8], 'EX', ARGV[2])
  redis.call('PUBLISH', key, ARGV[8])
  if ARGV[9] ~= '' then
    redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. ARGV[9] .. ',"record":' .. ARGV[8] .. '}')
  end
end
bury(letter_id, letter, ARGV[3])
redis.call('RPOPLPUSH', list, large_key(letter_id))
if tonumber(ARGV[14]) > 0 then
  redis.call('HDEL', 'lakequeue:door:deaths', redis.sha1hex(message))
end
return known and 'known' or 'ended'
