-- Throttles: who may call a model now. Used by whatever takes items or asks for a call.
--
-- <throttle>          hash: not_before (ms), since (when that was said, ms), began (when it was said first, ms), why,
--                     refused (why the key is refused; only if it is), limit (calls at once), cuts (how often it was
--                     cut), slow ('1': it doubles from round to round, as it was never cut on its way up), grown (answers
--                     since it last grew), strikes (refusals in a row), peak (most calls at once since the cut). Lives
--                     while it holds anybody back.
-- <throttle>:calls    sorted set: consumer → when its place falls free by itself (ms)
-- <throttle>:waiting  sorted set: "stream entry" → when the entry was added (ms); given back, nobody else's to take
-- THROTTLES           set of all these throttles
-- PARKED              hash: "stream entry" of what waits → "<when it is too late, in ms, or 0> <its state's key>"

local FURTHEST_PLACE_MS = 60000 -- none is given for longer: the clock was put back

-- A user who may not ask does without: then nobody is held back.
local function throttles()
  local all = redis.pcall('SMEMBERS', THROTTLES)
  return all.err and {} or all
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- When calls may be made (ms), of not_before and since. A time told by a clock that was put back afterwards is none: the
-- provider says it again.
local function opening(not_before, since, now)
  return tonumber(since or 0) <= now and tonumber(not_before or 0) or 0
end

-- Milliseconds until *consumer* may call; 0: now, -1: when another's call has ended.
local function turn(throttle, consumer, now)
  local about = redis.call('HMGET', throttle, 'not_before', 'limit', 'since')
  if not about[2] then return 0 end
  local opens = opening(about[1], about[3], now)
  if opens > now then return opens - now end
  local calls = throttle .. ':calls'
  redis.call('ZREMRANGEBYSCORE', calls, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', calls, now + FURTHEST_PLACE_MS, '+inf')
  if redis.call('ZSCORE', calls, consumer) then return 0 end
  return redis.call('ZCARD', calls) < tonumber(about[2]) and 0 or -1
end

-- Give *consumer* a place for *lease_ms*; returns which cut it was given under, 0 where nobody is held back.
local function enter(throttle, consumer, now, lease_ms)
  local about = redis.call('HMGET', throttle, 'cuts', 'peak')
  if not about[1] then return 0 end
  local calls = throttle .. ':calls'
  redis.call('ZADD', calls, now + lease_ms, consumer)
  if redis.call('PTTL', calls) < tonumber(lease_ms) then redis.call('PEXPIRE', calls, lease_ms) end
  local flying = redis.call('ZCARD', calls)
  if flying > tonumber(about[2]) then redis.call('HSET', throttle, 'peak', flying) end
  return tonumber(about[1])
end

-- Whether an entry waits for a throttle: then nobody takes it just because it is stale.
local function waits(stream, entry)
  for _, throttle in ipairs(throttles()) do
    if redis.call('ZSCORE', throttle .. ':waiting', stream .. ' ' .. entry) then return true end
  end
  return false
end
