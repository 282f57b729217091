-- The floors of lanes and their entries in a range.
--
-- KEYS  meta, lanes, then the stream of each lane
-- ARGV  log, rules' version, after, to, entries of a lane at most, bytes in all at most,
--       then for each lane its name, what is kept of it: entries, age in ms; 1 if entries are wanted
local meta = redis.call('HMGET', KEYS[1], 'log', 'rules', 'epoch', 'appended')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return {'stale'} end
local time = redis.call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), tonumber(meta[4]))
local after, to, most, bytes = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local function split(id)
  local seq, at = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(seq), tonumber(at)
end

-- The last seq that is removed, or counts as removed, and whether there is anything else.
local function floor(stream, name, keep, age)
  local length = redis.pcall('XLEN', stream)
  -- Somebody else's key in its place is no stream: what the lane had is gone.
  if length == 0 or type(length) == 'table' then
    return tonumber(redis.call('ZSCORE', KEYS[2], name) or '0'), false
  end
  local last, from, count = 0, '-', math.max(length - keep, 1)
  local excess = length - keep
  while true do
    local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
      local seq, at = split(entry[1])
      if excess <= 0 and at > 0 and not (age > 0 and at <= now - age) then return last, true end
      excess = excess - 1
      last = seq
      from = '(' .. entry[1]
    end
    if #entries < count then return last, false end
    count = 32
  end
end

local lanes, wanted = #KEYS - 2, 0
for i = 1, lanes do
  if ARGV[6 + i * 4] == '1' then wanted = wanted + 1 end
end
-- Each lane gets its share of the bytes, and one entry at least: so there is always progress.
local share, total = bytes / math.max(wanted, 1), 0
local reply = {'ok', meta[3]}
for i = 3, #KEYS do
  local a = 7 + (i - 3) * 4
  local name, keep, age, want = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3]
  local low, more = floor(KEYS[i], name, keep, age)
  -- The floor, whether there may be more behind what follows, then ids and records.
  local lane = {low, 0}
  if more and want == '1' then
    local from = string.format('%.0f', math.max(low, after) + 1)
    local taken, size, count = 0, 0, 1
    while true do
      local entries = redis.call('XRANGE', KEYS[i], from, to, 'COUNT', math.min(count, most - taken))
      local asked = math.min(count, most - taken)
      for _, entry in ipairs(entries) do
        if total > 4 * bytes and taken == 0 then
          -- Far too much: only where it would begin.
          lane[2] = 2
          lane[3] = entry[1]
          break
        end
        lane[#lane + 1] = entry[1]
        lane[#lane + 1] = entry[2][2]
        from = '(' .. entry[1]
        taken = taken + 1
        size = size + #entry[2][2]
      end
      if lane[2] == 2 or #entries < asked then break end
      if taken >= most or size >= share then
        lane[2] = 1
        break
      end
      count = 16
    end
    total = total + size
  end
  reply[#reply + 1] = lane
end
return reply
