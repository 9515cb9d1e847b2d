#!lua flags=no-writes
-- What stands in the lanes of partitions, whatever their length. ARGV: partitions.
-- Returns for each partition: its owner's lease or '', and each lane that holds messages or a batch:
--   lane, messages, jobs under way, since when (microseconds since 1970, or 0), jobs to be tried again, when its first
--   message was enqueued (ISO 8601 or ''), attempts in vain, Unix milliseconds of the next one, its error, messages to be
--   thrown away.
-- include lakequeue/messages

local function enqueued_at(lane)
  local message = redis.call('LINDEX', 'lakequeue:jobs:' .. lane, 0)
  return message and header_of(message, 'enqueued_at') or ''
end

local function lanes_of(partition)
  local found = {}
  for _, name in ipairs({ 'first:w:', 'first:r:', 'next:w:', 'next:r:' }) do
    for _, lane in ipairs(redis.call('ZRANGE', 'lakequeue:' .. name .. partition, 0, -1)) do
      found[#found + 1] = lane
    end
  end
  return found
end

local answer = {}
for _, partition in ipairs(ARGV) do
  local lanes = {}
  for _, lane in ipairs(lanes_of(partition)) do
    local length = redis.call('LLEN', 'lakequeue:jobs:' .. lane)
    local frozen = redis.call('HMGET', 'lakequeue:frozen:' .. lane, 'jobs', 'span', 'stamp')
    local wait = redis.call('HMGET', 'lakequeue:wait:' .. lane, 'jobs', 'attempts', 'until', 'error')
    local running = tonumber(frozen[1] or frozen[2] or 0)
    local retrying = not frozen[2] and tonumber(wait[1] or 0) or 0
    lanes[#lanes + 1] = { lane, length, running, frozen[3] or 0, retrying, enqueued_at(lane), wait[2] or 0, wait[3] or 0,
      wait[4] or '', redis.call('HGET', 'lakequeue:purges', lane) or 0 }
  end
  answer[#answer + 1] = { redis.call('GET', 'lakequeue:lease:' .. partition) or '', lanes }
end
return answer
