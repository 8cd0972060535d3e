-- Limits: how many items may be run at once, on all hosts. A place is worth as much as the lease of the item it was taken
-- with: whoever loses the item has lost it. What finds no room waits (waits.lua) in the order of entry; where several lines
-- wait for one limit (roles, for their total) they are served in turns. After waits.lua.
--
-- dago:limit:<name>         sorted set: "group stream entry" of those that have a place → until when (ms) that is sure; from
--                           then on the entry's pending row tells
-- dago:limit:<name>|<line>  what items wait for
-- LIMITS                    hash: name → most at once, of limits that items wait for
-- TURNS                     hash: line's key → the turn in which it was served last; and one, "", counts them
-- PLACES                    hash: "stream entry" → names of the limits it has places of

local TOTAL = 'roles'
local ROLE = '^role:'

local limit_max = {} -- name → most at once; whoever keeps to them says so
local limits_kept = false
local node_limits_kept = false -- there are some that nodes name in their configs
local place_lease_ms = nil
local doubting = false -- keepers do, once a second: whoever takes goes by what is there
local called_up = false -- an item is being taken out of its line: those before it were passed over

local function line_key(name, line) return LIMIT_PREFIX .. name .. '|' .. line end

local function limit_of(key) return string.match(string.sub(key, #LIMIT_PREFIX + 1), '^(.-)|') end

-- Look again at those whose time is up: most were renewed meanwhile.
local function look_again(holders, members, now)
  for _, member in ipairs(members) do
    local group, stream, entry = string.match(member, '^(%S+) (.*) (%S+)$')
    local rows = redis.pcall('XPENDING', stream, group, entry, entry, 1)
    local row = not rows.err and rows[1]
    if row and row[3] < place_lease_ms then
      redis.call('ZADD', holders, now + place_lease_ms - row[3], member)
    else
      redis.call('ZREM', holders, member)
    end
  end
end

-- How many places are free.
local function free_of(name, most, now)
  local holders = LIMIT_PREFIX .. name
  local free = most - redis.call('ZCARD', holders)
  if free > 0 or not doubting then return math.max(free, 0) end
  look_again(holders, redis.call('ZRANGEBYSCORE', holders, '-inf', whole(now)), now)
  -- Further off than any lease: the clock was put back.
  look_again(holders, redis.call('ZRANGEBYSCORE', holders, whole(now + 2 * place_lease_ms), '+inf'), now)
  return math.max(most - redis.call('ZCARD', holders), 0)
end

local function most_of(name)
  return limit_max[name] or tonumber(redis.call('HGET', LIMITS, name) or nil)
end

gates.limit = {
  is_full = function(key)
    local name = limit_of(key)
    return name and limit_max[name] and redis.call('ZCARD', LIMIT_PREFIX .. name) >= limit_max[name]
  end,
  room = function(key, _, now)
    local name = limit_of(key)
    local most = name and most_of(name)
    local free = most and free_of(name, most, now) or 0
    local total = free > 0 and string.find(name, ROLE) and most_of(TOTAL)
    return total and math.min(free, free_of(TOTAL, total, now)) or free
  end,
  enter = function(key) redis.call('HSET', TURNS, key, redis.call('HINCRBY', TURNS, '', 1)) end,
}

-- Leave out what lets nobody in, and bring the rest into the order in which it is asked: lines that were served longest ago
-- first.
local function in_turns(keys)
  if not limits_kept then return keys end
  local open = {}
  for _, key in ipairs(keys) do
    local gate = gate_of(key)
    if not (gate and gate.is_full and gate.is_full(key)) then open[#open + 1] = key end
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

-- Whether it had any.
local function forget_place(group, stream, entry)
  local names = redis.call('HGET', PLACES, stream .. ' ' .. entry)
  if not names then return false end
  for name in string.gmatch(names, '%S+') do
    redis.call('ZREM', LIMIT_PREFIX .. name, group .. ' ' .. stream .. ' ' .. entry)
  end
  redis.call('HDEL', PLACES, stream .. ' ' .. entry)
  return true
end

local function someone_before(key, entry)
  if called_up then return false end
  local first = redis.call('ZRANGE', key .. ':waiting', 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) < in_order(entry)
end

local function wait_in_line(one, name, key, watched)
  set_aside(one.stream, one.group, one.consumer, one.entry, key, 0, watched)
  redis.call('ZADD', key .. ':waiting', whole(in_order(one.entry)), one.stream .. ' ' .. one.entry)
  redis.call('HSET', LIMITS, name, limit_max[name])
end

local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  return fine and type(value) == 'table' and value or nil
end

-- What a node is under whose config names limits, one or a list; nil where it names none.
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
      local full = not redis.call('ZSCORE', LIMIT_PREFIX .. name, member)
        and (someone_before(key, one.entry) or free_of(name, limit_max[name], now) == 0)
      if full then
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

-- Tell everybody of one that may be taken now, for each line whose limit has room.
local function call_up()
  for _, key in ipairs(awaited()) do
    if gate_of(key) == gates.limit and gates.limit.room(key, '', now_ms()) > 0 then
      local first = redis.call('ZRANGE', key .. ':waiting', 0, 0)[1]
      if first then redis.pcall('PUBLISH', RELEASED_CHANNEL, first) end
    end
  end
end

-- An item is given back: its places are free.
local function free_places(group, stream, entry)
  if forget_place(group, stream, entry) then call_up() end
end
