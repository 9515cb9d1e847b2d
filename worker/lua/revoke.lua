#!lua flags=allow-oom
-- Revoke jobs that are not running, and remember the ids of those that are not known yet.
-- ARGV: seconds a finished record lives, now (ISO 8601), reason, then ids.
-- Returns one word a job: QUEUED, RETRY or UNKNOWN, which it revoked, or the state in which it left the job.
local answers = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  local key = 'celery-task-meta-' .. id
  local known = redis.call('GET', key)
  local state = known and (string.match(known, '^{"status": ?"(%u+)"') or 'UNREADABLE') or 'UNKNOWN'
  if state == 'RETRY' then
    -- One that may have taken effect already is as good as running.
    local table_name = cjson.decode(known)['table']
    if type(table_name) == 'string' and redis.call('HEXISTS', 'lakequeue:counted:w:' .. table_name, id) == 1 then
      state = 'STARTED'
    end
  end
  if state == 'QUEUED' or state == 'RETRY' or state == 'UNKNOWN' then
    local record = '{"status":"REVOKED","result":{"exc_type":"TaskRevokedError","exc_message":[' ..
      cjson.encode(ARGV[3]) .. '],"exc_module":"celery.exceptions"},"traceback":null,"children":[],"date_done":"' ..
      ARGV[2] .. '","task_id":"' .. id .. '"'
    local old = known and cjson.decode(known) or {}
    for _, name in ipairs({ 'name', 'table', 'rows', 'digest', 'enqueued_at', 'eta', 'parent_id' }) do
      if type(old[name]) == 'string' or type(old[name]) == 'number' then
        record = record .. ',"' .. name .. '":' .. cjson.encode(old[name])
      end
    end
    if type(old['replay_of']) == 'table' then
      record = record .. ',"replay_of":' .. cjson.encode(old['replay_of'])
    end
    record = record .. '}'
    local delayed = redis.call('ZREM', 'lakequeue:eta', id) == 1
    if delayed or not known then
      redis.call('SET', key, record, 'EX', ARGV[1])
    else
      redis.call('SET', key, record) -- its message is in a lane: freezing leaves it out, and lets the record expire
    end
    redis.call('PUBLISH', key, record)
    redis.call('HDEL', 'lakequeue:eta:jobs', id)
    local callbacks = redis.call('HGET', 'lakequeue:callbacks', id)
    if callbacks then
      redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. record .. '}')
      redis.call('HDEL', 'lakequeue:callbacks', id)
    end
  end
  answers[#answers + 1] = state
end
return answers
