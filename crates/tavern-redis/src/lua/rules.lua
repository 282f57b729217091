-- Replaces the retention rules, if they are still those that the caller has seen.
--
-- KEYS  meta
-- ARGV  log, rules' version seen, rules, their version
local meta = redis.call('HMGET', KEYS[1], 'log', 'rules')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'retention', ARGV[3], 'rules', ARGV[4])
return 1
