#!lua flags=allow-oom
-- Begin no batch of a table, also when Redis is full. ARGV: table, now (ISO 8601).
return redis.call('HSETNX', 'lakequeue:paused', ARGV[1], ARGV[2])
