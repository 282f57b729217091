-- Removes what is too old or too much, and folds lanes that are long silent into the horizon.
--
-- KEYS  meta, lanes, names, silent, then for each lane its stream, ids and order of ids
-- ARGV  log, silence in ms, window in ms, then for each lane its name and what is kept of it: entries, age in ms
local meta = redis.call('HMGET', KEYS[1], 'log', 'appended', 'horizon', 'lanes')
if meta[1] ~= ARGV[1] then return {'stale'} end
local time = redis.call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), tonumber(meta[2]))
local silence, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local horizon, count = tonumber(meta[3]), tonumber(meta[4])
local removed, failed = 0, nil
local function lane(i)
  local stream, ids, order = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local a = 4 + (i - 5)
  local name, keep, age = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local length = redis.call('XLEN', stream)
  if length > keep + 1 then
    removed = removed + redis.call('XTRIM', stream, 'MAXLEN', string.format('%.0f', keep + 1))
    length = keep + 1
  end
  if length > 0 and age > 0 then
    -- The last that is too old stays: it tells the floor. If all are, the lane's last seq does.
    local old, from, open = nil, '-', true
    local count_ = 1
    while open do
      local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', count_)
      open = #entries == count_
      for _, entry in ipairs(entries) do
        if tonumber(string.match(entry[1], '-(%d+)$')) > now - age then
          open = false
          break
        end
        old = entry[1]
        from = '(' .. entry[1]
      end
      count_ = 64
    end
    if old then
      local before = redis.call('XTRIM', stream, 'MINID', old)
      removed = removed + before
      length = length - before
      if length == 1 then
        redis.call('ZADD', KEYS[4], string.format('%.0f', now), name)
        redis.call('DEL', stream)
        removed = removed + 1
        length = 0
      end
    end
  end
  if length == 0 then
    -- Ids are remembered for a window behind their entries.
    for _ = 1, 256 do
      local oldest = redis.call('LINDEX', order, 0)
      if not oldest then break end
      local given = redis.call('HGET', ids, oldest)
      if given and tonumber(string.match(given, '^%d+:(%d+):')) >= now - window then break end
      redis.call('LPOP', order)
      if given then redis.call('HDEL', ids, oldest) end
    end
    local since = redis.call('ZSCORE', KEYS[4], name)
    local last = redis.call('ZSCORE', KEYS[2], name)
    if last and not since then
      -- Its stream is gone, whoever took it.
      redis.call('ZADD', KEYS[4], string.format('%.0f', now), name)
    elseif last and tonumber(since) <= now - silence and redis.call('LLEN', order) == 0 then
      local above = math.max(horizon, tonumber(last))
      redis.call('HSET', KEYS[1], 'horizon', string.format('%.0f', above), 'lanes', string.format('%.0f', count - 1))
      horizon, count = above, count - 1
      redis.call('ZREM', KEYS[2], name)
      redis.call('ZREM', KEYS[3], name)
      redis.call('ZREM', KEYS[4], name)
      redis.call('DEL', ids, order)
    end
  end
end
-- One lane that cannot be swept, as a key of it is somebody else's, is not in the others' way.
for i = 5, #KEYS, 3 do
  local done, failure = pcall(lane, i)
  if not done then failed = type(failure) == 'table' and failure.err or tostring(failure) end
end
-- Names that were lost are written down again, if it is only them.
local names = redis.pcall('ZCARD', KEYS[3])
if type(names) == 'number' and names ~= count and redis.call('ZCARD', KEYS[2]) == count then
  redis.pcall('ZUNIONSTORE', KEYS[3], 1, KEYS[2], 'WEIGHTS', 0)
end
return {'ok', removed, failed}
