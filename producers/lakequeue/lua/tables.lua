#!lua flags=no-writes
-- What stands in the lanes of tables, whatever their length. ARGV: tables.
-- Returns for each table its lanes that hold messages or a batch:
--   lane, messages, jobs under way, since when (microseconds since 1970, or 0), jobs to be tried again, when its first
--   message was enqueued (ISO 8601 or ''), attempts in vain, Unix milliseconds of the next one, its error, messages to be
--   thrown away.
-- include lakequeue/messages

local function enqueued_at(lane)
  local message = redis.call('LINDEX', 'lakequeue:jobs:' .. lane, 0)
  return message and header_of(message, 'enqueued_at') or ''
end

local answer = {}
for _, table_name in ipairs(ARGV) do
  local lanes = {}
  for _, kind in ipairs({ 'w:', 'r:' }) do
    local lane = kind .. table_name
    local length = redis.call('LLEN', 'lakequeue:jobs:' .. lane)
    local frozen = redis.call('HMGET', 'lakequeue:frozen:' .. lane, 'jobs', 'span', 'stamp')
    if length > 0 or frozen[2] then
      local wait = redis.call('HMGET', 'lakequeue:wait:' .. lane, 'jobs', 'attempts', 'until', 'error')
      local running = tonumber(frozen[1] or frozen[2] or 0)
      local retrying = not frozen[2] and tonumber(wait[1] or 0) or 0
      lanes[#lanes + 1] = { lane, length, running, frozen[3] or 0, retrying, enqueued_at(lane), wait[2] or 0,
        wait[3] or 0, wait[4] or '', redis.call('HGET', 'lakequeue:purges', lane) or 0 }
    end
  end
  answer[#answer + 1] = lanes
end
return answer
