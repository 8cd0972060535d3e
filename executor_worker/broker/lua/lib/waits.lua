-- What items wait for, held by no worker: one list, one way to be put there and one way out.
--
-- AWAITED   set: keys of all that items wait for, or that holds a worker back now
-- <key>:waiting           sorted set: "stream entry" → when the entry was added (ms), or when it is due
-- PARKED    hash: "stream entry" → what it waits for, when it is too late for it (ms; 0: never) and the key
--                         that says whether it is still wanted, by tabs
-- PARKED_COUNTS  hash: stream → how many of its entries wait
--
-- What waits keeps its pending row, uncounted, idle beyond all leases: no worker takes it for being stale. An item waits for
-- one thing at a time, in the order in which entries were added; where it needs several its kind, or the worker, looks at
-- each in turn and lets it wait for the first that is shut.

local ROW_PAGE, MOST_PAGES = 100, 5

-- Gates by the type of their keys, `dago:<type>:…`. The part that adds one says
--   room(key, who, now)    how many may go in now; *who*: a consumer, or a pool's name, a dot and nothing
--   is_full(key)           optional, and cheap: it lets no entry in now
--   is_due(key, group, stream, entry, room)  optional: that one may go in now, not others that are not here yet
--   enter(key, who, now)   optional: one does, in the step that takes it
--   opens(key, now)        optional: ms until it may open, 0: it is open, -1: that is for something else to say
--   keep(key, callers, now, lease_ms)  optional: those are still in it
--   upto(now)              optional: the highest score that may go
-- A type that this program does not know keeps what waits for it.
local gates = {}

local function gate_of(key) return gates[string.match(key, '^dago:(%a+):')] end

-- A user who may not ask does without: then nothing is waited for.
local seen_awaited = nil -- the last answer within this call

local function awaited()
  local all = redis.pcall('SMEMBERS', AWAITED)
  seen_awaited = all.err and {} or all
  return seen_awaited
end

local clock_ms = nil

-- Stands still within a call.
local function now_ms()
  if not clock_ms then
    local time = redis.call('TIME')
    clock_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return clock_ms
end

local function whole(number) return string.format('%.0f', number) end

-- What "stream entry" waits for; nil if it does not.
local function waits_for(member)
  local about = redis.call('HGET', PARKED, member)
  local key = about and string.match(about, '^([^\t]*)\t')
  return key and redis.call('ZSCORE', key .. ':waiting', member) and key or nil
end

-- Tell whether an entry waits: then no worker takes it just because it is stale.
local function waits(stream, entry) return waits_for(stream .. ' ' .. entry) ~= nil end

-- Let "stream entry" wait no longer.
local function unpark(member)
  local about = redis.call('HGET', PARKED, member)
  if not about then return end
  local key = string.match(about, '^([^\t]*)\t')
  if key then redis.call('ZREM', key .. ':waiting', member) end
  redis.call('HDEL', PARKED, member)
  redis.call('HINCRBY', PARKED_COUNTS, string.match(member, '^(.*) %S+$'), -1)
end

-- Let an entry wait for *key*. *due*: its place in the row, if that is not when it was added.
local function park(stream, entry, key, ends_ms, watched, due)
  local member = stream .. ' ' .. entry
  unpark(member)
  redis.call('ZADD', key .. ':waiting', due or string.match(entry, '^%d+'), member)
  redis.call('HSET', PARKED, member, key .. '\t' .. ends_ms .. '\t' .. watched)
  redis.call('HINCRBY', PARKED_COUNTS, stream, 1)
  redis.call('SADD', AWAITED, key)
end

-- Give back, uncounted, what was just delivered to *consumer*, until *key* lets it in: for a kind's `open`.
local function set_aside(stream, group, consumer, entry, key, ends_ms, watched)
  must_hold('hash', stream .. UNCOUNTED, PARKED, PARKED_COUNTS)
  must_hold('zset', key .. ':waiting')
  must_hold('set', AWAITED)
  redis.call('XCLAIM', stream, group, consumer, 0, entry, 'IDLE', RELEASED_MS, 'JUSTID')
  redis.call('HINCRBY', stream .. UNCOUNTED, entry, 1)
  park(stream, entry, key, ends_ms, watched)
end

-- The first *most* that wait for *key* on a stream of *served*, a set.
local function first_waiting(key, gate, served, most, now)
  local found, highest = {}, gate.upto and whole(gate.upto(now)) or '+inf'
  for page = 0, MOST_PAGES - 1 do
    local members = redis.call('ZRANGEBYSCORE', key .. ':waiting', '-inf', highest, 'LIMIT', page * ROW_PAGE, ROW_PAGE)
    for _, member in ipairs(members) do
      if #found < most and served[string.match(member, '^(.*) %S+$')] then found[#found + 1] = member end
    end
    if #found >= most or #members < ROW_PAGE then break end
  end
  return found
end

-- What is due at a time: an item that is to be run again after a while.
gates.time = {
  room = function(key, _, now)
    return #redis.call('ZRANGEBYSCORE', key .. ':waiting', '-inf', whole(now), 'LIMIT', 0, ROW_PAGE)
  end,
  opens = function(key, now)
    local first = redis.call('ZRANGE', key .. ':waiting', 0, 0, 'WITHSCORES')
    return first[2] and math.max(tonumber(first[2]) - now, 0) or -1
  end,
  upto = function(now) return now end,
}
