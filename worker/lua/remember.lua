#!lua flags=allow-oom
-- Keep the counts of a batch that may have been committed and cannot be proved: counted again, they would be others.
-- ARGV: lease, partition, lane, then for each job: id, rows.
if redis.call('GET', 'lakequeue:lease:' .. ARGV[2]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST partition ' .. ARGV[2])
end
for i = 4, #ARGV, 2 do
  redis.call('HSET', 'lakequeue:counted:' .. ARGV[3], ARGV[i], ARGV[i + 1])
end
return 1
