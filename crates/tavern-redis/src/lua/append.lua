-- Appends a batch as a whole or not at all: everything is looked at before anything is written,
-- as scripts do not roll back. Replies with a word; "ok" is followed by the epoch, the first seq
-- given, a letter for each message (stored, duplicate, conflict, live), and the seqs of duplicates
-- and conflicts.
--
-- KEYS  meta, lanes, names, silent, spine, origins,
--       then the keys of each origin, then for each lane its stream, ids and order of ids
-- ARGV  see `append.rs`, which writes them
local at = 0
local function arg()
  at = at + 1
  return ARGV[at]
end
local function number()
  return tonumber(arg())
end
local function int(n)
  return string.format('%.0f', n)
end

-- A call with any number of arguments: Lua takes some thousands at once.
local function each(command, key, args)
  for i = 1, #args, 4000 do
    redis.call(command, key, unpack(args, i, math.min(i + 3999, #args)))
  end
end

local schema, log = arg(), arg()
local fresh, rules, known_epoch, known_seq = arg(), arg(), arg(), number()
local publish, spine_channel, live_channel = arg(), arg(), arg()
local spine_most, window, touch = arg(), number(), arg() == '1'

local META, LANES, NAMES, SILENT, SPINE, ORIGINS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local meta = redis.call('HMGET', META, 'schema', 'log', 'epoch', 'incarnation', 'seq', 'appended',
  'rules', 'lanes', 'forks')
if not meta[1] then return {'absent'} end
if meta[1] ~= schema then return {'schema', meta[1]} end
if meta[2] ~= log then return {'stale'} end
if meta[7] ~= rules then return {'stale'} end
local epoch, seq, appended, lane_count, forks =
  meta[3], tonumber(meta[5]), tonumber(meta[6]), tonumber(meta[8]), meta[9]
if not (epoch and seq and appended and lane_count and forks)
  or redis.call('ZCARD', LANES) ~= lane_count then
  return {'damaged'}
end
local moved = meta[4] ~= incarnation

local time = redis.call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), appended)

-- What the log knows of the keys: for each origin a sorted set of runs, "counter:counter:seq:time"
-- scored by the last counter. The counters of a run rise with its seqs.
local key = 6
local origins = {}
for o = 1, number() do
  key = key + 1
  local origin = {name = arg(), key = KEYS[key], seqs = {}, runs = {}}
  -- Careful: a key may come twice in this call.
  local first, last = number(), number()
  origin.careful = arg() == '1'
  local from = int(first)
  local open = true
  while open do
    local runs = redis.call('ZRANGEBYSCORE', origin.key, from, '+inf', 'LIMIT', 0, 256)
    open = #runs == 256
    for _, run in ipairs(runs) do
      local a, b, s = string.match(run, '^(%d+):(%d+):(%d+):')
      a, b, s = tonumber(a), tonumber(b), tonumber(s)
      if a > last then
        open = false
        break
      end
      for c = math.max(a, first), math.min(b, last) do
        origin.seqs[c] = s + (c - a)
        origin.seen = true
      end
      from = '(' .. int(b)
    end
  end
  origins[o] = origin
end

local lanes = {}
for l = 1, number() do
  local lane = {name = arg(), channel = arg(), keep = number()}
  if lane.keep > 0 then
    lane.stream, lane.ids, lane.order = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
    key = key + 3
    lane.given = {}
    -- One more than the rule keeps: it tells the floor.
    lane.most = int(lane.keep + 1)
  end
  lanes[l] = lane
end

-- Decide. Of each message one letter goes back: what is stored got the next seq, of the others that
-- have one it follows. This loop and the one that writes are what an append costs.
local store, records, push = {}, {}, {}
local outcomes, where, messages = {}, {}, 0
local function remember(origin, counter, s)
  local run = origin.runs[#origin.runs]
  if run and run[2] + 1 == counter and run[3] + (counter - run[1]) == s then
    run[2] = counter
  else
    origin.runs[#origin.runs + 1] = {counter, counter, s}
  end
  origin.seqs[counter] = s
  origin.seen = true
end
-- The log's answer to an id: "s" if it does not know it.
local function known(lane, id, print)
  local found = lane.given[id] or redis.call('HGET', lane.ids, id)
  if not found then return 's' end
  local s, t, p = string.match(found, '^(%d+):(%d+):(.*)$')
  if tonumber(t) < now - window and #redis.call('XRANGE', lane.stream, s, s) == 0 then return 's' end
  return p == print and 'd' or 'c', tonumber(s)
end
local stored = 0
for _ = 1, number() do
  -- A run of messages with consecutive counters of one origin.
  local origin, counter, last = origins[number()], number(), number()
  local run
  for counter = counter, last do
    local number_of_lane, id, print = number(), nil, nil
    if number_of_lane < 0 then
      number_of_lane, id, print = -number_of_lane, arg(), arg()
    end
    local lane, record = lanes[number_of_lane], arg()
    messages = messages + 1
    if lane.keep == 0 then
      outcomes[messages] = 'l'
      push[#push + 1] = {lane.channel, origin.name, counter, record}
      run = nil
    elseif origin.seen and origin.seqs[counter] then
      outcomes[messages] = 'd'
      where[#where + 1] = origin.seqs[counter]
      run = nil
    else
      local outcome, at = 's', nil
      if id then outcome, at = known(lane, id, print) end
      outcomes[messages] = outcome
      if outcome == 's' then
        seq = seq + 1
        stored = stored + 1
        if id then
          lane.given[id] = int(seq) .. ':' .. int(now) .. ':' .. print
          lane.new_ids = lane.new_ids or {}
          table.insert(lane.new_ids, id)
        end
        if run then
          run[2] = counter
        else
          run = {counter, counter, seq}
          origin.runs[#origin.runs + 1] = run
        end
        store[stored], records[stored] = lane, record
        lane.last = seq
        if origin.careful then
          origin.seqs[counter] = seq
          origin.seen = true
        end
      else
        where[#where + 1] = at
        run = nil
        if outcome == 'd' then remember(origin, counter, at) end
      end
    end
  end
end

local first = seq - stored + 1
local head = first - 1
local forked = false
if stored > 0 then
  local lost = head
  if known_epoch == epoch and known_seq > head then
    -- Somebody has seen entries of this epoch that are not here.
    lost, forked = known_seq, true
  end
  if moved or forked then
    forked = true
    forks = epoch .. ':' .. int(head) .. ':' .. int(lost) .. ';' .. forks
    epoch = fresh
  end
end
-- What lies above a fork and was seen is lost: see `Lineage::learn`.
local learned = false
if known_epoch ~= '' and known_epoch ~= epoch then
  local list, oldest = {}, nil
  for parent, a, lost in string.gmatch(forks, '([^:;]+):(%d+):(%d+);') do
    list[#list + 1] = {parent, tonumber(a), tonumber(lost)}
    if parent == known_epoch and not oldest then oldest = #list end
  end
  local s = known_seq
  for f = oldest or 0, 1, -1 do
    if s > list[f][3] then
      list[f][3] = s
      learned = true
    end
    s = math.min(s, list[f][2])
  end
  if learned then
    local text = {}
    for f, fork in ipairs(list) do
      text[f] = fork[1] .. ':' .. int(fork[2]) .. ':' .. int(fork[3]) .. ';'
    end
    forks = table.concat(text)
  end
end
if forked then
  -- As many as `Lineage::MAX_FORKS`.
  local kept, n = {}, 0
  for fork in string.gmatch(forks, '[^;]+;') do
    n = n + 1
    if n > 256 then break end
    kept[n] = fork
  end
  forks = table.concat(kept)
end

-- The types of what is going to be written to, and which lanes are new.
local new_names, unsilent, scores = {}, {}, {}
local any_keys = false
for _, lane in ipairs(lanes) do
  if lane.last then
    if redis.call('XLEN', lane.stream) == 0 then
      local last = redis.call('ZSCORE', LANES, lane.name)
      if last then
        lane.gone = last
        unsilent[#unsilent + 1] = lane.name
      else
        new_names[#new_names + 1] = '0'
        new_names[#new_names + 1] = lane.name
      end
    end
    if lane.new_ids then redis.call('LLEN', lane.order) end
    scores[#scores + 1] = int(lane.last)
    scores[#scores + 1] = lane.name
  end
end
for _, origin in ipairs(origins) do
  any_keys = any_keys or #origin.runs > 0
end
if stored > 0 then
  redis.call('XLEN', SPINE)
  if #new_names > 0 then redis.call('ZCARD', NAMES) end
  if #unsilent > 0 then redis.call('ZCARD', SILENT) end
end
if any_keys then redis.call('ZCARD', ORIGINS) end

-- The first write is where an engine that may not write, or has no memory left, refuses.
if stored > 0 then
  redis.call('HSET', META, 'seq', int(seq), 'appended', int(now), 'epoch', epoch,
    'incarnation', incarnation, 'forks', forks, 'lanes', int(lane_count + #new_names / 2))
elseif learned or touch then
  redis.call('HSET', META, 'forks', forks)
end

local function write()
  local call, pack = redis.call, struct.pack
  local parts, numbers, stamp = {}, {}, '-' .. int(now)
  local names, known_lanes = {}, 0
  for i = 1, stored do
    local lane, record, s = store[i], records[i], head + i
    local part = lane.part
    if not part then
      -- The first of its lane in this call.
      lane.number = pack('>I2', known_lanes)
      known_lanes = known_lanes + 1
      names[known_lanes] = pack('>I2', #lane.name) .. lane.name
      part = parts[lane.channel]
      if not part then
        part = {'E', epoch, pack('>I8', now)}
        parts[lane.channel] = part
        parts[#parts + 1] = lane.channel
      end
      lane.part = part
      if lane.gone then
        -- All that the lane held is gone. An entry of time 0 in the last one's place tells the floor.
        -- A stream that is there and empty remembers its last entry, and takes none in its place.
        call('DEL', lane.stream)
        call('XADD', lane.stream, lane.gone .. '-0', 'r', '')
      end
    end
    call('XADD', lane.stream, 'MAXLEN', lane.most, int(s) .. stamp, 'r', record)
    local n = #part
    part[n + 1] = pack('>I8I4', s, #record)
    part[n + 2] = record
    numbers[i] = lane.number
  end
  if stored > 0 then
    each('ZADD', LANES, scores)
    each('ZADD', NAMES, new_names)
    each('ZREM', SILENT, unsilent)
  end
  for _, lane in ipairs(lanes) do
    if lane.new_ids then
      local set = {}
      for _, id in ipairs(lane.new_ids) do
        set[#set + 1] = id
        set[#set + 1] = lane.given[id]
      end
      each('HSET', lane.ids, set)
      each('RPUSH', lane.order, lane.new_ids)
      -- Ids that are old and whose entries are gone are forgotten, some at a time.
      for _ = 1, #lane.new_ids + 2 do
        local oldest = redis.call('LINDEX', lane.order, 0)
        local given = oldest and redis.call('HGET', lane.ids, oldest)
        if given then
          local s, t = string.match(given, '^(%d+):(%d+):')
          if tonumber(t) >= now - window or #redis.call('XRANGE', lane.stream, s, s) > 0 then break end
          redis.call('HDEL', lane.ids, oldest)
        end
        redis.call('LPOP', lane.order)
      end
    end
  end
  for _, origin in ipairs(origins) do
    if #origin.runs > 0 then
      local runs = {}
      for _, run in ipairs(origin.runs) do
        runs[#runs + 1] = int(run[2])
        runs[#runs + 1] = int(run[1]) .. ':' .. int(run[2]) .. ':' .. int(run[3]) .. ':' .. int(now)
      end
      each('ZADD', origin.key, runs)
      redis.call('ZADD', ORIGINS, int(now), origin.name)
    end
  end
  for _, live in ipairs(push) do
    local message = 'L' .. live[2] .. struct.pack('>I8', live[3]) .. live[4]
    redis.call(publish, live[1], message)
    redis.call(publish, live_channel, message)
  end
  if stored > 0 then
    local blob = 'S' .. epoch .. pack('>I8I8I4I2', now, first, stored, known_lanes)
      .. table.concat(names) .. table.concat(numbers)
    redis.call('XADD', SPINE, 'MAXLEN', '~', spine_most, int(seq) .. stamp, 's', blob)
    for _, channel in ipairs(parts) do
      redis.call(publish, channel, table.concat(parts[channel]))
    end
    redis.call(publish, spine_channel, blob)
  end
end
local done, failure = pcall(write)
if not done then
  if type(failure) == 'table' then failure = failure.err end
  return {'partial', tostring(failure)}
end
return {'ok', epoch, int(first), table.concat(outcomes), where}
