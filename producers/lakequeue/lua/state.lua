-- A job's state, by the beginning of its record: that of a read may be tens of megabytes long.
local function state_of(id)
  local head = redis.call('GETRANGE', 'celery-task-meta-' .. id, 0, 49)
  return head == '' and 'UNKNOWN' or string.match(head, '^{"status": ?"(%u+)"') or 'UNREADABLE'
end

local function is_final(state)
  return state == 'SUCCESS' or state == 'FAILURE' or state == 'REVOKED'
end
