-- Forgets keys of publications that are older than the de-duplication window.
--
-- KEYS  origins, the keys of one origin
-- ARGV  the origin's name, window in ms
local time = redis.call('TIME')
local before = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[2])
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
if last and tonumber(last) < before then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('UNLINK', KEYS[2])
  return 0
end
local runs = redis.call('ZRANGE', KEYS[2], 0, 511)
local old = {}
for _, run in ipairs(runs) do
  if tonumber(string.match(run, ':(%d+)$')) < before then old[#old + 1] = run end
end
if #old > 0 then redis.call('ZREM', KEYS[2], unpack(old)) end
return #old == 512 and 1 or 0
