-- Put a message at the end of a lane, and wake the partition's owner if the lane was not ready before.
local function push(lane, partition, message)
  redis.call('RPUSH', 'lakequeue:jobs:' .. lane, message)
  if redis.call('SADD', 'lakequeue:ready:' .. partition, lane) == 1 then
    redis.call('PUBLISH', 'lakequeue:wake', partition)
  end
end
