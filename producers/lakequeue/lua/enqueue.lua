-- Record jobs and push them, each whole or not at all.
-- ARGV: longest list allowed; 1 to go on after a conflict; then for each job: id, lane, partition, digest, record,
-- message.
-- Returns one word a job: queued, known (same id, same payload), differs, full. Nothing is tried after `full`, nor,
-- unless asked to go on, after `differs`.

-- include lakequeue/push
-- include lakequeue/state
-- include lakequeue/known

local limit = tonumber(ARGV[1])
local goes_on = ARGV[2] == '1'
local answers = {}
for i = 3, #ARGV, 6 do
  local key = 'celery-task-meta-' .. ARGV[i]
  local known = told_of(ARGV[i])
  if known then
    local same = known['digest'] == ARGV[i + 3]
    answers[#answers + 1] = same and 'known' or 'differs'
    if not same and not goes_on then
      return answers
    end
  elseif (lengths[ARGV[i + 1]] or redis.call('LLEN', 'lakequeue:jobs:' .. ARGV[i + 1])) >= limit then
    answers[#answers + 1] = 'full'
    return answers
  else
    -- The record comes first: it is refused when memory is full, and then nothing of this job is written.
    redis.call('SET', key, ARGV[i + 4])
    push(ARGV[i + 1], ARGV[i + 2], ARGV[i + 5])
    answers[#answers + 1] = 'queued'
  end
end
return answers
