-- Throttles: who may call a model now. Used by whatever takes items or asks for a call.
--
-- <throttle>          hash: not_before (ms), since (when that was said, ms), began (when it was said first, ms), why,
--                     refused (why the key is refused; only if it is), limit (calls at once), cuts (how often it was
--                     cut), slow ('1': it doubles from round to round, as it was never cut on its way up), grown (answers
--                     since it last grew), strikes (refusals in a row), peak (most calls at once since the cut). Lives
--                     while it holds a caller back.
-- <throttle>:calls    sorted set: consumer → when its place falls free by itself (ms)

local FURTHEST_PLACE_MS = 60000 -- none is given for longer: the clock was put back

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

-- Give *consumer* a place for *lease_ms*; returns which cut it was given under, 0 if no caller is held back.
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

gates.throttle = {
  room = function(throttle, who, now)
    if turn(throttle, who, now) ~= 0 then return 0 end
    local limit = redis.call('HGET', throttle, 'limit')
    return limit and math.max(tonumber(limit) - redis.call('ZCARD', throttle .. ':calls'), 1) or math.huge
  end,
  enter = function(throttle, who, now) enter(throttle, who, now, TAKEN_PLACE_MS) end,
  opens = function(throttle, now) return turn(throttle, '', now) end,
  keep = function(throttle, callers, now, lease_ms)
    for _, caller in ipairs(callers) do
      if redis.call('ZADD', throttle .. ':calls', 'XX', 'CH', now + lease_ms, caller) == 1 then
        redis.call('PEXPIRE', throttle .. ':calls', lease_ms)
      end
    end
  end,
  opening = opening,
  turn = turn,
  call = enter,
}
