#!lua flags=allow-oom
-- Freeze the jobs of one statement: they become STARTED, and what the statement carries is fixed. Jobs at the list's
-- head that need no statement get their outcome here, so that no takeover has to find out about them again.
-- ARGV: lease, partition, lane, batch, batch it replaces or '', span, identity, attempt, microseconds within which the
--   statement must start, microseconds after that until it cannot commit any more, the warehouse's clock minus ours in
--   microseconds, stamp to keep or '', rows each job comes to, seconds a finished record lives, Unix seconds now,
--   number of settled jobs, for each: id, record; number of dead letters, for each: id, JSON;
--   then for each job of the statement: id, record.
-- `span` is how many messages at the list's head the batch covers, with those that are in no statement.
-- Returns: stamp, start_by, open_until (microseconds), the ids that stay out because they have a final record, those of
--   them that were revoked and of which it is said here for the first time, and the settled ones that had an outcome before.
local lease, partition, lane, batch, replaces = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= lease then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
local frozen = 'lakequeue:frozen:' .. lane
local held = redis.call('HGET', frozen, 'batch')
if held and held ~= batch and held ~= replaces then
  return redis.error_reply('FROZEN ' .. lane .. ' holds another batch')
end
-- include lakequeue/state
local function finished(id)
  return is_final(state_of(id))
end
local out, revoked = {}, {}
-- A revoked job's record outlives its message, which goes when this batch is settled, or at a later try.
local function let_expire(id)
  local key = 'celery-task-meta-' .. id
  if state_of(id) == 'REVOKED' then
    if redis.call('TTL', key) == -1 then
      revoked[#revoked + 1] = id
    end
    redis.call('EXPIRE', key, ARGV[14])
  end
end
-- include lakequeue/letters_kept
-- include lakequeue/ended
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local start_by = now + tonumber(ARGV[9]) + tonumber(ARGV[11])
local open_until = start_by + tonumber(ARGV[10])
local stamp = tonumber(ARGV[12])
if string.sub(lane, 1, 1) == 'r' then
  stamp = 0
elseif not stamp then
  local key = 'lakequeue:stamp:' .. string.sub(lane, 3)
  local last = tonumber(redis.call('GET', key) or '0')
  stamp = math.max(now, last + 1)
  redis.call('SET', key, string.format('%.0f', stamp))
end
local at = 17
local done, before = {}, {}
local ended = {} -- true: before; a letter belongs to the outcome it came with, and may have been replayed or dropped since
for _ = 1, tonumber(ARGV[16]) do
  ended[ARGV[at]] = finished(ARGV[at]) or false
  if ended[ARGV[at]] then
    before[#before + 1] = ARGV[at]
    let_expire(ARGV[at])
  else
    done[#done + 1] = ARGV[at]
    redis.call('SET', 'celery-task-meta-' .. ARGV[at], ARGV[at + 1], 'EX', ARGV[14])
    redis.call('PUBLISH', 'celery-task-meta-' .. ARGV[at], ARGV[at + 1])
    local callbacks = redis.call('HGET', 'lakequeue:callbacks', ARGV[at])
    if callbacks then
      redis.call('RPUSH', 'lakequeue:outbox', '{"after":' .. callbacks .. ',"record":' .. ARGV[at + 1] .. '}')
      redis.call('HDEL', 'lakequeue:callbacks', ARGV[at])
    end
  end
  at = at + 2
end
note_ended(string.sub(lane, 3), done, ARGV[14])
local letters = tonumber(ARGV[at])
at = at + 1
for _ = 1, letters do
  if not ended[ARGV[at]] then
    bury(ARGV[at], ARGV[at + 1], ARGV[15])
  end
  at = at + 2
end
local ids = {}
for i = at, #ARGV, 2 do
  if finished(ARGV[i]) then
    out[#out + 1] = ARGV[i]
    let_expire(ARGV[i])
  else
    redis.call('SET', 'celery-task-meta-' .. ARGV[i], ARGV[i + 1])
    ids[#ids + 1] = ARGV[i]
  end
end
local function text(number)
  return string.format('%.0f', number)
end
redis.call('DEL', frozen)
redis.call('HSET', frozen, 'batch', batch, 'span', ARGV[6], 'identity', ARGV[7], 'attempt', ARGV[8],
  'stamp', text(stamp), 'start_by', text(start_by), 'open_until', text(open_until),
  'jobs', #ids, 'ids', table.concat(ids, ' '),
  'counts', ARGV[13])
local token = string.match(lease, '^(.*)#%d+$')
redis.call('HSET', 'lakequeue:load:' .. lane, 'by', token, 'size', math.max(#ids, 1))
redis.call('SADD', 'lakequeue:hand:' .. token, lane)
redis.call('EXPIRE', 'lakequeue:hand:' .. token, 86400)
local counted = 'lakequeue:counted:' .. lane
if redis.call('EXISTS', counted) == 1 then
  for id in pairs(ended) do
    redis.call('HDEL', counted, id)
  end
  for _, id in ipairs(out) do
    redis.call('HDEL', counted, id)
  end
end
return { text(stamp), text(start_by), text(open_until), out, revoked, before }
