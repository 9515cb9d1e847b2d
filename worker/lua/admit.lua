-- Admit the oldest messages of one of kombu's lists: each leaves it in the step that records and queues its job.
-- ARGV: list, seconds a finished record lives, Unix seconds now, then for each message: verdict, its bytes, id,
--   digest, record, lane, partition, message for the lane, Unix seconds it is due at or '', callbacks or '',
--   dead letter's id, dead letter.
-- Verdicts: `job`; `late`, `empty` and `bad`, which have a final record and no place in a lane; `letter`, which is a
--   dead letter and nothing else.
-- Returns one word a message: queued, known (same id, same payload), revoked (before it came), ended, or differs: the
-- id is known with another payload. Nothing is tried after `differs`, which stays, nor after a message that is not the
-- list's oldest any more, another worker having taken it. Not allowed when memory is full: then all stay.
local list = ARGV[1]
local answers = {}

local function follow(callbacks, record)
  if callbacks ~= '' then
    redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. record .. '}')
  end
end

-- include lakequeue/push
-- include lakequeue/letters_kept
-- include lakequeue/state
-- include lakequeue/known

for i = 4, #ARGV, 12 do
  local verdict, id, digest, record, callbacks = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 9]
  if redis.call('LINDEX', list, -1) ~= ARGV[i + 1] then
    return answers
  end
  local key = 'celery-task-meta-' .. id
  local known = verdict ~= 'letter' and told_of(id)
  local answer
  if known then
    if known['digest'] == nil and known['status'] == 'REVOKED' then
      follow(callbacks, redis.call('GET', key))
      answer = 'revoked'
    elseif known['digest'] == digest then
      answer = 'known'
    else
      answers[#answers + 1] = 'differs'
      return answers
    end
  elseif verdict == 'job' then
    local lane, partition, due = ARGV[i + 5], ARGV[i + 6], ARGV[i + 8]
    -- The record comes first: it is refused when memory is full, and then nothing of this job is written.
    redis.call('SET', key, record)
    if callbacks ~= '' then
      redis.call('HSET', 'lakequeue:callbacks', id, callbacks)
    end
    if due ~= '' then
      -- Jobs that are due at the same time keep their order.
      local before = redis.call('ZCOUNT', 'lakequeue:eta', due, string.format('%.6f', tonumber(due) + 1))
      redis.call('ZADD', 'lakequeue:eta', string.format('%.6f', tonumber(due) + before / 1000000), id)
      redis.call('HSET', 'lakequeue:eta:jobs', id, partition .. ' ' .. lane .. '\n' .. ARGV[i + 7])
    else
      push(lane, partition, ARGV[i + 7])
    end
    answer = 'queued'
  else
    if verdict ~= 'letter' then
      redis.call('SET', key, record, 'EX', ARGV[2])
      redis.call('PUBLISH', key, record)
      follow(callbacks, record)
    end
    if ARGV[i + 10] ~= '' then
      bury(ARGV[i + 10], ARGV[i + 11], ARGV[3])
    end
    answer = 'ended'
  end
  redis.call('RPOP', list)
  answers[#answers + 1] = answer
end
return answers
