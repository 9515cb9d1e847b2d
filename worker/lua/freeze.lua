#!lua flags=allow-oom
-- Freeze the jobs of one statement: they become STARTED, and what the statement carries is fixed.
-- ARGV: token, partition, lane, batch, batch it replaces or '', span, identity, attempt, microseconds within which the
--   statement must start, the warehouse's clock minus ours in microseconds, stamp to keep or '',
--   rows each job comes to, then for each job: id, record.
-- `span` is how many messages at the list's head the batch covers, with those that are in no statement.
-- Returns: stamp, start_by (microseconds), and the ids that stay out because they have a final record.
local token, partition, lane, batch, replaces = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= token then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
local frozen = 'lakequeue:frozen:' .. lane
local held = redis.call('HGET', frozen, 'batch')
if held and held ~= batch and held ~= replaces then
  return redis.error_reply('FROZEN ' .. lane .. ' holds another batch')
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local start_by = now + tonumber(ARGV[9]) + tonumber(ARGV[10])
local stamp = tonumber(ARGV[11])
if string.sub(lane, 1, 1) == 'r' then
  stamp = 0
elseif not stamp then
  local key = 'lakequeue:stamp:' .. string.sub(lane, 3)
  local last = tonumber(redis.call('GET', key) or '0')
  stamp = math.max(now, last + 1)
  redis.call('SET', key, string.format('%.0f', stamp))
end
local ids, out = {}, {}
for i = 13, #ARGV, 2 do
  local key = 'celery-task-meta-' .. ARGV[i]
  local record = redis.call('GET', key)
  local state = record and string.match(record, '^{"status": ?"(%u+)"')
  if state ~= 'SUCCESS' and state ~= 'FAILURE' and state ~= 'REVOKED' then
    redis.call('SET', key, ARGV[i + 1])
    ids[#ids + 1] = ARGV[i]
  else
    out[#out + 1] = ARGV[i]
  end
end
local stamp_text, start_text = string.format('%.0f', stamp), string.format('%.0f', start_by)
redis.call('DEL', frozen)
redis.call('HSET', frozen, 'batch', batch, 'span', ARGV[6], 'identity', ARGV[7], 'attempt', ARGV[8],
  'stamp', stamp_text, 'start_by', start_text, 'ids', table.concat(ids, ' '), 'counts', ARGV[12])
return { stamp_text, start_text, out }
