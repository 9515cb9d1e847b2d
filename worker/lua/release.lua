#!lua flags=allow-oom
-- Give partitions back, and tell the other workers. ARGV: token, 'leaving' or 'staying', partitions…
for i = 3, #ARGV do
  local key = 'lakequeue:lease:' .. ARGV[i]
  local mark = ARGV[1] .. '#'
  if string.sub(redis.call('GET', key) or '', 1, #mark) == mark then
    redis.call('DEL', key)
  end
end
if ARGV[2] == 'leaving' then
  redis.call('ZREM', 'lakequeue:workers', ARGV[1])
end
redis.call('PUBLISH', 'lakequeue:wake', 'free')
return 1
