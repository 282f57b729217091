-- Creates the log if there is none, or in the place of one that is damaged.
--
-- KEYS  meta
-- ARGV  schema, log, epoch, rules, rules' version, format, the damaged log or ''
local log = redis.call('HGET', KEYS[1], 'log')
if log and log ~= ARGV[7] then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Not before the damaged one, if that can still be told: clocks run forwards.
local appended = tonumber(redis.call('HGET', KEYS[1], 'appended') or '0') or 0
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'log', ARGV[2], 'epoch', ARGV[3],
  'incarnation', incarnation, 'retention', ARGV[4], 'rules', ARGV[5], 'format', ARGV[6],
  'seq', '0', 'appended', string.format('%.0f', math.max(now, appended)), 'horizon', '0',
  'lanes', '0', 'forks', '')
return 1
