-- Where the message with an id stands in a lane, as the append script wrote it.
--
-- KEYS  the lane's ids
-- ARGV  id
return redis.call('HGET', KEYS[1], ARGV[1])
