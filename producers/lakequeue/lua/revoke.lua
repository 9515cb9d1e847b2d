#!lua flags=allow-oom
-- Revoke jobs that are not running, and, if asked to, remember the ids of those that are not known yet.
-- ARGV: seconds a finished record lives, now (ISO 8601), reason, '1' to remember unknown ids, then ids.
-- Returns one word a job: QUEUED, RETRY or UNKNOWN, which it revoked, or the state in which it left the job.
local answers = {}

-- include lakequeue/revoked
-- include lakequeue/ended

for i = 5, #ARGV do
  local id = ARGV[i]
  local state = state_of(id)
  local told = is_final(state) and {} or told_by(record_of(id)) -- a read's page may be long
  local table_name = type(told['table']) == 'string' and told['table'] or ''
  local lane = (told['name'] == 'records.read' and 'r:' or 'w:') .. table_name
  if redis.call('HEXISTS', 'lakequeue:counted:' .. lane, id) == 1 then
    state = state == 'RETRY' and 'STARTED' or state -- one that may have taken effect already is as good as running
  elseif state == 'STARTED' and table_name ~= '' and redis.call('EXISTS', 'lakequeue:frozen:' .. lane) == 0 then
    state = 'RETRY' -- it was in a batch that was cut, and its part was not sent any more
  end
  if state == 'QUEUED' or state == 'RETRY' or (state == 'UNKNOWN' and ARGV[4] == '1') then
    local delayed = redis.call('ZREM', 'lakequeue:eta', id) == 1
    redis.call('HDEL', 'lakequeue:eta:jobs', id)
    -- A message in a lane: freezing leaves it out, and lets the record expire.
    revoke(id, ARGV[3], ARGV[2], (delayed or state == 'UNKNOWN') and ARGV[1])
    if table_name ~= '' then
      note_ended(table_name, { id }, ARGV[1])
    end
  end
  answers[#answers + 1] = state
end
return answers
