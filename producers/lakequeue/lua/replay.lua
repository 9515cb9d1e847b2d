-- Replay dead letters: in one step each is enqueued under its new id and leaves the dead letters.
-- ARGV: longest list allowed; then for each letter: its id, its place in the index, when its job was enqueued, the new
--   id, lane, partition, digest, record, message.
-- Returns one word a letter: queued; known, the new id being there already as a replay of this job; taken, another job
-- having the new id; gone, the letter not being there any more, or another one; full. Nothing is tried after `full`.

-- include lakequeue/push
-- include lakequeue/letters_kept

local limit = tonumber(ARGV[1])
local answers = {}

local function leave(id, new)
  unbury(id)
  local key = 'celery-task-meta-' .. id
  local record = redis.call('GET', key)
  if record and string.match(record, '^{"status": ?"FAILURE"') and string.sub(record, -1) == '}' then
    redis.call('SET', key, string.sub(record, 1, -2) .. ',"replayed_as":"' .. new .. '"}', 'KEEPTTL')
  end
end

for i = 2, #ARGV, 9 do
  local id, place, enqueued_at, new = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local lane, partition, digest = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local key = 'celery-task-meta-' .. new
  if redis.call('ZSCORE', 'lakequeue:dead:index', id) ~= place then
    answers[#answers + 1] = 'gone'
  elseif redis.call('EXISTS', key) == 1 then
    local ok, record = pcall(cjson.decode, redis.call('GET', key))
    local chain = ok and type(record) == 'table' and record['replay_of']
    -- An id may be used again for another job once its record has expired: a replay older than the job is not its own.
    if type(chain) == 'table' and chain[#chain] == id and record['digest'] == digest
      and type(record['enqueued_at']) == 'string' and record['enqueued_at'] >= enqueued_at then
      leave(id, new)
      answers[#answers + 1] = 'known'
    else
      answers[#answers + 1] = 'taken'
      return answers
    end
  elseif redis.call('LLEN', 'lakequeue:jobs:' .. lane) >= limit then
    answers[#answers + 1] = 'full'
    return answers
  else
    -- The record comes first: it is refused when memory is full, and then nothing of this job is written.
    redis.call('SET', key, ARGV[i + 7])
    push(lane, partition, ARGV[i + 8])
    leave(id, new)
    answers[#answers + 1] = 'queued'
  end
end
return answers
