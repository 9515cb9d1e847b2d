-- Revoke a job: its record says so, whoever waits for it hears it, and what follows it may.
local function record_of(id)
  return redis.call('GET', 'celery-task-meta-' .. id)
end

-- include lakequeue/state

-- What a record says; of one that cannot be read nothing is known.
local function told_by(record)
  local ok, read = pcall(cjson.decode, record or '')
  return ok and type(read) == 'table' and read or {}
end

-- Its record expires after so many seconds, or not by itself: while its message is in a lane it has to be there.
local function revoke(id, reason, at, expires)
  local key, known = 'celery-task-meta-' .. id, record_of(id)
  local record = '{"status":"REVOKED","result":{"exc_type":"TaskRevokedError","exc_message":[' ..
    cjson.encode(reason) .. '],"exc_module":"celery.exceptions"},"traceback":null,"children":[],"date_done":"' ..
    at .. '","task_id":"' .. id .. '"'
  local old = told_by(known)
  for _, name in ipairs({ 'name', 'table', 'rows', 'digest', 'enqueued_at', 'eta', 'parent_id' }) do
    if type(old[name]) == 'string' or type(old[name]) == 'number' then
      record = record .. ',"' .. name .. '":' .. cjson.encode(old[name])
    end
  end
  if type(old['replay_of']) == 'table' then
    record = record .. ',"replay_of":' .. cjson.encode(old['replay_of'])
  end
  record = record .. '}'
  if expires then
    redis.call('SET', key, record, 'EX', expires)
  else
    redis.call('SET', key, record)
  end
  redis.call('PUBLISH', key, record)
  local callbacks = redis.call('HGET', 'lakequeue:callbacks', id)
  if callbacks then
    redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. record .. '}')
    redis.call('HDEL', 'lakequeue:callbacks', id)
  end
end
