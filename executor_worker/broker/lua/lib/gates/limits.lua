-- Limits: how many items may be run at once, on all hosts. A place is worth as much as the lease of the item it was taken
-- with: a worker that loses the item has lost it. What finds no room waits (waits.lua) in the order of entry; where several lines
-- wait for one limit (roles, for their total) they are served in turns. Which are kept to: limits.lua.
--
-- dago:limit:<name>         sorted set: "group stream entry" of those that have a place → until when (ms) that is sure; from
--                           then on the entry's pending row tells
-- dago:limit:<name>|<line>  what items wait for
-- dago:limit:<name>:shut    set: lines that are not looked at before a place of that limit falls free. They are not in AWAITED,
--                           so that full limits cost those who take nothing, however many there are
-- LIMITS                    hash: name → most at once, of limits that items wait for
-- TURNS                     hash: line's key → the turn in which it was served last; and one, "", counts them
-- PLACES                    hash: "stream entry" → names of the limits it has places of

local TOTAL = 'roles'
local ROLE = '^role:'

local function line_key(name, line) return LIMIT_PREFIX .. name .. '|' .. line end

local function limit_of(key) return string.match(string.sub(key, #LIMIT_PREFIX + 1), '^(.-)|') end

local function shut_key(name) return LIMIT_PREFIX .. name .. ':shut' end

-- Look at a line again.
local function reopen(key, name)
  redis.call('SADD', AWAITED, key)
  redis.call('SREM', shut_key(name), key)
  seen_awaited = nil
end

-- A place of a limit falls free.
local function give_back(name, member)
  redis.call('ZREM', LIMIT_PREFIX .. name, member)
  for _, key in ipairs(redis.call('SMEMBERS', shut_key(name))) do reopen(key, name) end
end

-- How many places are free.
local function free_of(name, most, now)
  local holders = LIMIT_PREFIX .. name
  if look_again and redis.call('ZCARD', holders) >= most then
    look_again(name, redis.call('ZRANGEBYSCORE', holders, '-inf', whole(now)), now)
    -- Further off than any lease: the clock was put back.
    look_again(name, redis.call('ZRANGEBYSCORE', holders, whole(now + 2 * place_lease_ms), '+inf'), now)
  end
  return math.max(most - redis.call('ZCARD', holders), 0)
end

local function most_of(name)
  return limit_max[name] or tonumber(redis.call('HGET', LIMITS, name) or nil)
end

local function is_full(name)
  return limit_max[name] and redis.call('ZCARD', LIMIT_PREFIX .. name) >= limit_max[name]
end

-- The full limit for whose sake no entry of a line is let in now; nil if there is none.
local function full_limit(key)
  local name = limit_of(key)
  if not name then return nil end
  return is_full(name) and name or string.find(name, ROLE) and is_full(TOTAL) and TOTAL or nil
end

-- A line is not looked at until *full*, its own limit or the total, has room.
local function shut(key, full)
  local other = full == TOTAL and limit_of(key) or TOTAL
  if other ~= full then redis.call('SREM', shut_key(other), key) end
  redis.call('SADD', shut_key(full), key)
  redis.call('SREM', AWAITED, key)
end

-- How many places are due to entries that are on their way to workers: the order in which those come to open them is
-- no order of entry.
local function due_before(name, stream, group, entry)
  local due = 0
  for _, names in ipairs(unopened_before and unopened_before(stream, group, entry) or {}) do
    for _, other in ipairs(names) do
      if other == name then due = due + 1 break end
    end
  end
  return due
end

-- Leave out what lets no entry in, and bring the rest into the order in which it is asked: lines that were served longest ago
-- first.
local function in_turns(keys)
  if not limits_kept then return keys end
  local open = {}
  for _, key in ipairs(keys) do
    local gate = waits.gate_of(key)
    local full = gate == gates.limit and full_limit(key)
    if full then
      shut(key, full)
    elseif not (gate and gate.is_full and gate.is_full(key)) then
      open[#open + 1] = key
    end
  end
  if #open < 2 then return open end
  local turns, served = {}, redis.call('HMGET', TURNS, unpack(open))
  for i, key in ipairs(open) do turns[key] = tonumber(served[i] or 0) end
  table.sort(open, function(a, b)
    if turns[a] ~= turns[b] then return turns[a] < turns[b] end
    return a < b
  end)
  return open
end

-- Doubles hold 53 bits: milliseconds, and the first 4096 entries of one.
local function in_order(entry)
  local ms, seq = string.match(entry, '^(%d+)-(%d+)$')
  return ms * 4096 + math.min(tonumber(seq), 4095)
end

-- The names of the limits it had a place of, nil if it had none. What waits for those is looked at again.
local function forget_place(group, stream, entry)
  local names = redis.call('HGET', PLACES, stream .. ' ' .. entry)
  if not names then return nil end
  local freed = {}
  for name in string.gmatch(names, '%S+') do
    give_back(name, group .. ' ' .. stream .. ' ' .. entry)
    freed[name] = true
  end
  redis.call('HDEL', PLACES, stream .. ' ' .. entry)
  return freed
end

local function someone_before(key, entry)
  if called_up then return false end
  local first = redis.call('ZRANGE', key .. ':waiting', 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) < in_order(entry)
end

-- Whether *one* has to wait for a place, since none is free or all that are free are due to others.
local function must_wait(one, name, key)
  local free = limit_max[name] - redis.call('ZCARD', LIMIT_PREFIX .. name)
  if free > 0 and not someone_before(key, one.entry) then
    free = free - (one.how and 0 or due_before(name, one.stream, one.group, one.entry))
    if free > 0 then return false end
  end
  return not redis.call('ZSCORE', LIMIT_PREFIX .. name, one.group .. ' ' .. one.stream .. ' ' .. one.entry)
end

local function wait_in_line(one, name, key, watched)
  waits.set_aside(one.stream, one.group, one.consumer, one.entry, key, 0, watched)
  redis.call('ZADD', key .. ':waiting', whole(in_order(one.entry)), one.stream .. ' ' .. one.entry)
  redis.call('HSET', LIMITS, name, limit_max[name])
end

local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  return fine and type(value) == 'table' and value or nil
end

-- What a node is under whose config names limits, one or a list; nil if it names none.
local function needs_of(config, watched)
  local given = type(config) == 'table' and config.limit
  if type(given) == 'string' then given = {given} end
  if type(given) ~= 'table' then return nil end
  local names = {}
  for _, name in ipairs(given) do names[#names + 1] = type(name) == 'string' and name or nil end
  return {names = names, watched = watched}
end

-- Give *one* a place of each limit it is under, or let it wait for the first that is full. *needs*: {names, lines: by name,
-- if there are several, watched: the key that says whether it is still wanted}.
local function admitted(one, needs)
  local now, member, names = now_ms(), one.group .. ' ' .. one.stream .. ' ' .. one.entry, {}
  for _, name in ipairs(needs.names) do
    if limit_max[name] then
      names[#names + 1] = name
      local key = line_key(name, needs.lines and needs.lines[name] or '')
      if must_wait(one, name, key) then
        if one.how then break end -- without a row it can't wait
        if redis.call('HDEL', one.stream .. UNCOUNTED, one.entry .. ' pass') == 1 then return true end
        forget_place(one.group, one.stream, one.entry)
        wait_in_line(one, name, key, needs.watched or '')
        return false
      end
    end
  end
  if #names == 0 then return true end
  for _, name in ipairs(names) do redis.call('ZADD', LIMIT_PREFIX .. name, whole(now + place_lease_ms), member) end
  redis.call('HSET', PLACES, one.stream .. ' ' .. one.entry, table.concat(names, ' '))
  return true
end

-- Tell all keepers of one that may be taken now, for each line that waits for a place of a limit of *freed* and has room.
local function call_up(freed)
  if seen_awaited and #seen_awaited == 0 then return end -- what has begun to wait since then waits for what is full
  for _, key in ipairs(awaited()) do
    local name = waits.gate_of(key) == gates.limit and limit_of(key)
    local concerned = name and (freed[name] or freed[TOTAL] and string.find(name, ROLE))
    if concerned and gates.limit.room(key, '', now_ms()) > 0 then
      local first = redis.call('ZRANGE', key .. ':waiting', 0, 0)[1]
      if first then redis.pcall('PUBLISH', RELEASED_CHANNEL, first) end
    end
  end
end

-- An item is given back: its places are free.
local function free_places(group, stream, entry)
  local freed = forget_place(group, stream, entry)
  if freed then call_up(freed) end
end

gates.limit = {
  room = function(key, _, now)
    local name = limit_of(key)
    local most = name and most_of(name)
    local free = most and free_of(name, most, now) or 0
    local total = free > 0 and string.find(name, ROLE) and most_of(TOTAL)
    return total and math.min(free, free_of(TOTAL, total, now)) or free
  end,
  is_due = function(key, group, stream, entry, room) return due_before(limit_of(key), stream, group, entry) < room end,
  enter = function(key) redis.call('HSET', TURNS, key, redis.call('HINCRBY', TURNS, '', 1)) end,
  name_of = limit_of,
  free_of = free_of,
  shut_key = shut_key,
  reopen = reopen,
  give_back = give_back,
  in_turns = in_turns,
  forget_place = forget_place,
  free_places = free_places,
  call_up = call_up,
  decoded = decoded,
  needs_of = needs_of,
  admitted = admitted,
}
