-- Put a message at the end of a lane, and wake the partition's owner if the lane was not ready before.
local lengths = {} -- of the lanes that this run has pushed to
local function push(lane, partition, message)
  local length = redis.call('RPUSH', 'lakequeue:jobs:' .. lane, message)
  if not lengths[lane] and redis.call('SADD', 'lakequeue:ready:' .. partition, lane) == 1 then
    redis.call('PUBLISH', 'lakequeue:wake', partition)
  end
  lengths[lane] = length
end
