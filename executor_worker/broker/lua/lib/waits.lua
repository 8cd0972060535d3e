-- What items wait for, held by no worker: one list, one way to be put there (parking.lua) and one way out (letting_in.lua).
-- After module.lua.
--
-- AWAITED   set: keys of all that items wait for, or that holds a worker back now
-- <key>:waiting           sorted set: "stream entry" → when the entry was added (ms), or when it is due
-- PARKED    hash: "stream entry" → what it waits for, when it is too late for it (ms; 0: never) and the key
--                         that says whether it is still wanted, by tabs
-- PARKED_COUNTS  hash: stream → how many of its entries wait

local waits = setmetatable({}, lazily)

-- Gates by the type of their keys, `dago:<type>:…`: each a file of lib/gates. A gate says
--   room(key, who, now)    how many may go in now; *who*: a consumer, or a pool's name, a dot and nothing
--   is_full(key)           optional, and cheap: it lets no entry in now
--   is_due(key, group, stream, entry, room)  optional: that one may go in now, not others that are not here yet
--   enter(key, who, now)   optional: one does, in the step that takes it
--   opens(key, now)        optional: ms until it may open, 0: it is open, -1: that is for something else to say
--   keep(key, callers, now, lease_ms)  optional: those are still in it
--   upto(now)              optional: the highest score that may go
-- A type that this program does not know keeps what waits for it. What else stands in a gate is for those who ask it by name.
local gates = setmetatable({}, lazily)

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
