-- What the log says of itself.
--
-- KEYS  meta
local meta = redis.call('HMGET', KEYS[1], 'schema', 'log', 'epoch', 'seq', 'appended', 'horizon',
  'forks', 'rules', 'retention', 'format', 'incarnation')
if not meta[1] then return {'absent'} end
for i = 1, 11 do
  if not meta[i] then return {'damaged', meta[2] or ''} end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
meta[5] = string.format('%.0f', math.max(now, tonumber(meta[5]) or 0))
table.insert(meta, 1, 'ok')
return meta
