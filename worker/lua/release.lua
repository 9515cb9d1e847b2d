#!lua flags=allow-oom
-- Give partitions back. ARGV: token, 'leaving' or 'staying', partitions…
for i = 3, #ARGV do
  local key = 'lakequeue:lease:' .. ARGV[i]
  if redis.call('GET', key) == ARGV[1] then
    redis.call('DEL', key)
  end
end
if ARGV[2] == 'leaving' then
  redis.call('ZREM', 'lakequeue:workers', ARGV[1])
end
return 1
