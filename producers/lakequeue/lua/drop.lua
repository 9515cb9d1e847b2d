#!lua flags=allow-oom
-- Drop dead letters. ARGV: for each its id, and its place in the index or '' for whichever is there.
-- Returns for each 1 if it was dropped, 0 if it was not there, or another one was.
local answers = {}

-- include lakequeue/letters_kept

for i = 1, #ARGV, 2 do
  local place = redis.call('ZSCORE', 'lakequeue:dead:index', ARGV[i])
  if place and (ARGV[i + 1] == '' or ARGV[i + 1] == place) then
    unbury(ARGV[i])
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
