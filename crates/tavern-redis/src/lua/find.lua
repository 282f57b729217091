-- Where the message with an id stands in a lane, as the append script wrote it.
--
-- KEYS  meta, the lane's ids
-- ARGV  log, id
if redis.call('HGET', KEYS[1], 'log') ~= ARGV[1] then return {'stale'} end
return {'ok', redis.call('HGET', KEYS[2], ARGV[2]) or ''}
