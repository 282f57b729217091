-- Where entries of a range lie: the spine of the range, if it still reaches back that far; else the
-- lanes that changed since the range's beginning.
--
-- KEYS  meta, lanes, names, spine
-- ARGV  log, rules' version, the range: after, to; the score after which lanes are wanted,
--       how many lanes, then the topics they must belong to, if not all
local meta = redis.call('HMGET', KEYS[1], 'log', 'rules', 'epoch', 'seq', 'horizon', 'lanes')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then return {'stale'} end
if redis.call('ZCARD', KEYS[2]) ~= tonumber(meta[6]) then return {'damaged'} end
local after = tonumber(ARGV[3])
local head = tonumber(meta[4])

local spine, covered = {}, 0
if after >= head then
  covered = 1
else
  -- Behind its letter, the epoch and the time stands the first seq of a batch.
  local function first(entry)
    return struct.unpack('>I8', string.sub(entry[2][2], 23, 30))
  end
  local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
  if oldest and first(oldest) <= after + 1 then
    covered = 1
    local to, from = tonumber(ARGV[4]), string.format('%.0f', after + 1)
    while #spine < 1024 do
      local entries = redis.call('XRANGE', KEYS[4], from, '+', 'COUNT', 64)
      for _, entry in ipairs(entries) do
        if first(entry) > to then
          entries = {}
          break
        end
        spine[#spine + 1] = entry[2][2]
        from = '(' .. entry[1]
      end
      if #entries < 64 then break end
    end
  end
end

if covered == 1 then return {'ok', meta[3], meta[4], meta[5], 1, spine} end

local lanes = {}
local most = tonumber(ARGV[6])
local function changed()
  lanes = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[5], '+inf', 'WITHSCORES', 'LIMIT', 0, most)
end
-- Names that are not complete, as somebody deleted them, say nothing of what there is.
if #ARGV == 6 or redis.pcall('ZCARD', KEYS[3]) ~= tonumber(meta[6]) then
  changed()
else
  local few, total = redis.call('ZCOUNT', KEYS[2], '(' .. ARGV[5], '+inf'), 0
  for t = 7, #ARGV do
    total = total + 1 + redis.call('ZLEXCOUNT', KEYS[3], '(' .. ARGV[t] .. '\n', '(' .. ARGV[t] .. '\v')
  end
  if few <= total then
    changed()
  else
    local found = {}
    local function look(name)
      local score = redis.call('ZSCORE', KEYS[2], name)
      if score and tonumber(score) > tonumber(ARGV[5]) then found[#found + 1] = {tonumber(score), name, score} end
    end
    for t = 7, #ARGV do
      look(ARGV[t])
      for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[3], '(' .. ARGV[t] .. '\n', '(' .. ARGV[t] .. '\v')) do
        look(name)
      end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    for i = 1, math.min(#found, most) do
      lanes[#lanes + 1] = found[i][2]
      lanes[#lanes + 1] = found[i][3]
    end
  end
end
return {'ok', meta[3], meta[4], meta[5], 0, lanes}
