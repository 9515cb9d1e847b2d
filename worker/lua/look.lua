#!lua flags=allow-oom
-- What there is to do in a lane: its frozen batch, its wait, and the messages at its head.
-- ARGV: lease, partition, lane; how many messages at the head are known already, and the marks of the first and the last
--   of them ('': they are); how many bytes more to read; bytes of the largest message that is read; and to take the lane in hand: how
--   many jobs at most.
-- Taking is noted with the worker's name. Who finds there the name of one that is no more knows that it died at it: half
-- as many jobs are taken then. If it was one job, it is counted whether the worker had other lanes in hand too: where
-- that was so twice the job is a suspect, to be run with nothing beside it. A death while the warehouse had the job's
-- statement is counted by itself: the worker only waited then, and was more likely killed than killed by the job.
-- Returns: frozen, wait, how many messages the lane holds, how many of the known ones are still its first (all or none),
-- the messages that come after these; how many jobs to take at most; how often a worker died with one and nothing else
-- before it sent it, and how often after; how much of a suspect it is, from 0; since when (microseconds since 1970, or
-- 0) another server answers than before, as a restart or a failover may have lost something; the counts of jobs that
-- are known from an earlier try; and `purge` or `paused` if that is to be done instead. Last, where the first
-- message is too large to be read, its size and its two ends.
local lease, partition, lane = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', 'lakequeue:lease:' .. partition) ~= lease then
  return redis.error_reply('LEASELOST partition ' .. partition)
end
-- A worker that lives and lost its lease, by an outage of Redis, say, died at nothing.
local function lives(token)
  local until_s = redis.call('ZSCORE', 'lakequeue:workers', token)
  local time = redis.call('TIME')
  return until_s and tonumber(until_s) > tonumber(time[1]) + tonumber(time[2]) / 1000000
end
-- include lakequeue/turns
-- include lakequeue/messages
-- By its mark a message is known again: its length and both its ends, where its headers are.
local function mark_of(message)
  return redis.sha1hex(#message .. ' ' .. string.sub(message, 1, 500) .. string.sub(message, -2000))
end
local frozen = redis.call('HGETALL', 'lakequeue:frozen:' .. lane)
local waiting = redis.call('HGETALL', 'lakequeue:wait:' .. lane)
local list = 'lakequeue:jobs:' .. lane
local limit, alone, unanswered, beside, broke, counted = 0, 0, 0, 0, 0, {}
if ARGV[9] then
  -- Of a paused table nothing is begun, and of a purged one it is thrown away; what may have taken effect is finished.
  local purge = redis.call('HGET', 'lakequeue:purges', lane)
  if purge and #frozen == 0 and redis.call('EXISTS', 'lakequeue:counted:' .. lane) == 0 then
    return { {}, {}, 0, 0, {}, 0, 0, 0, 0, 0, {}, 'purge' }
  end
  if #frozen == 0 and redis.call('HEXISTS', 'lakequeue:paused', string.sub(lane, 3)) == 1 then
    return { {}, {}, 0, 0, {}, 0, 0, 0, 0, 0, {}, 'paused' }
  end
end
if ARGV[9] then
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local known = redis.call('HMGET', 'lakequeue:server', 'run', 'broke')
  broke = known[2] or 0
  if run and known[1] ~= run then
    if known[1] then
      local time = redis.call('TIME')
      broke = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
    end
    redis.call('HSET', 'lakequeue:server', 'run', run, 'broke', broke)
  end
  local load, token = 'lakequeue:load:' .. lane, string.match(lease, '^(.*)#%d+$')
  local before = redis.call('HMGET', load, 'by', 'size', 'limit', 'alone', 'unanswered', 'beside')
  limit, alone = tonumber(before[3] or ARGV[9]), tonumber(before[4] or 0)
  unanswered, beside = tonumber(before[5] or 0), tonumber(before[6] or 0)
  if before[1] and before[1] ~= token and not lives(before[1]) then
    local size = tonumber(before[2])
    limit = math.max(1, math.floor(size / 2))
    if size > 1 then
      alone, unanswered, beside = 0, 0, 0
    elseif redis.call('SCARD', 'lakequeue:hand:' .. before[1]) > 1 then
      beside = beside + 1
    elseif (redis.call('HGET', 'lakequeue:frozen:' .. lane, 'identity') or '') ~= '' then -- without one none was sent
      unanswered = unanswered + 1
    else
      alone = alone + 1
    end
    redis.call('HSET', load, 'limit', limit, 'alone', alone, 'unanswered', unanswered, 'beside', beside)
    redis.call('HDEL', load, 'by') -- counted once
  end
  if redis.call('HEXISTS', 'lakequeue:purges', lane) == 1 then
    -- What may have taken effect stands at the head: only that is tried again.
    limit = math.max(1, math.min(limit, redis.call('HLEN', 'lakequeue:counted:' .. lane)))
  end
  local left = redis.call('LLEN', list)
  if left > 0 and string.sub(lane, 1, 1) == 'w' then -- reads are in hand once they are frozen: many only wait
    local size = math.min(limit, left)
    for i = 1, #frozen, 2 do
      if frozen[i] == 'ids' then
        local _, spaces = string.gsub(frozen[i + 1], ' ', '')
        size = spaces + 1
      end
    end
    redis.call('HSET', load, 'by', token, 'size', size)
    redis.call('SADD', 'lakequeue:hand:' .. token, lane)
    redis.call('EXPIRE', 'lakequeue:hand:' .. token, 86400)
  end
  counted = redis.call('HGETALL', 'lakequeue:counted:' .. lane)
end
local length, known = redis.call('LLEN', list), tonumber(ARGV[4])
if length == 0 and #frozen == 0 then
  want_turn(lane, partition, nil)
end
if known > 0 and ARGV[5] ~= '' then
  -- Nobody else removes any while the lease is held. A server that was replaced by its copy may have others there.
  local first, last = redis.call('LINDEX', list, 0), redis.call('LINDEX', list, known - 1)
  if not (first and last and mark_of(first) == ARGV[5] and mark_of(last) == ARGV[6]) then
    known = 0
  end
end
local messages = {}
if known == 0 or tonumber(ARGV[7]) > 0 then
  messages = messages_from(list, known, 1000, tonumber(ARGV[7]), known > 0 and ARGV[9])
end
local large = {}
for i, message in ipairs(messages) do
  if #message > tonumber(ARGV[8]) then
    if known == 0 and i == 1 then
      large = { #message, string.sub(message, 1, 64000), string.sub(message, -64000) }
    end
    for last = #messages, i, -1 do
      messages[last] = nil
    end
    break
  end
end
return { frozen, waiting, length, known, messages, limit, alone, unanswered,
  alone + math.min(unanswered, 1) + math.max(beside - 1, 0), broke, counted, '', large }
