-- Where a lane stands in its partition: among the lanes that had no turn since they stopped being empty, by when that
-- was, or among those that had a turn and want another, by when they want it. Both in Unix seconds of this server.
local function standing(sort, lane, partition)
  return 'lakequeue:' .. sort .. ':' .. string.sub(lane, 1, 1) .. ':' .. partition
end

local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- A lane had a turn. It wants the next one at a time, or is empty and wants none.
local function want_turn(lane, partition, at)
  redis.call('ZREM', standing('first', lane, partition), lane)
  if at then
    redis.call('ZADD', standing('next', lane, partition), string.format('%.6f', at), lane)
  else
    redis.call('ZREM', standing('next', lane, partition), lane)
  end
end

-- A lane that waits for its next turn is to have it now.
local function hurry(lane, partition)
  redis.call('ZADD', standing('next', lane, partition), 'XX', string.format('%.6f', clock()), lane)
end
