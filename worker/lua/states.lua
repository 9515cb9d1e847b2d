#!lua flags=no-writes
-- The states of jobs. ARGV: ids. Returns a word for each, '' if it is not known.
-- include lakequeue/state
local answers = {}
for _, id in ipairs(ARGV) do
  local state = state_of(id)
  answers[#answers + 1] = state == 'UNKNOWN' and '' or state
end
return answers
