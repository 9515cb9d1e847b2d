-- Put a message at the end of a lane, and wake the partition's owner if the lane was empty before. An owner with many
-- lanes that wait looks for others by itself: a wake for each of them would only keep it busy.
-- include lakequeue/turns
local lengths = {} -- of the lanes that this run has pushed to
local function push(lane, partition, message)
  local length = redis.call('RPUSH', 'lakequeue:jobs:' .. lane, message)
  if not lengths[lane] and not redis.call('ZSCORE', standing('next', lane, partition), lane) then
    local first = standing('first', lane, partition)
    if redis.call('ZADD', first, 'NX', string.format('%.6f', clock()), lane) == 1 and redis.call('ZCARD', first) <= 64 then
      redis.call('PUBLISH', 'lakequeue:wake', partition)
    end
  end
  lengths[lane] = length
end
