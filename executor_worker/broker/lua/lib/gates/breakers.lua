-- Circuit breakers of tools, and of servers that have them. After gates/throttle.lua.
--
-- dago:breaker:<kind>:<place>:<name>  hash: failures (calls in a row that brought no answer), began (the first of them, ms),
--                     why (the last one's error code); once that were too many, and no call is made but one a minute:
--                     not_before (the next, ms), since (when that was said, ms), limit (1), prober (who makes it)

local BREAKER_PROBE_MS = 60000

local function is_open(breaker) return redis.call('HGET', breaker, 'not_before') and true end

-- Milliseconds until *consumer* may call, 0: now.
local function held_back(breaker, consumer, now)
  local about = redis.call('HMGET', breaker, 'not_before', 'since', 'prober')
  if not about[1] or about[3] == consumer then return 0 end
  return math.max(gates.throttle.opening(about[1], about[2], now) - now, 0)
end

local function try_again_later(breaker, now)
  redis.call('HSET', breaker, 'not_before', whole(now + BREAKER_PROBE_MS), 'since', whole(now), 'limit', 1)
end

-- Let *consumer* make this minute's call.
local function probe(breaker, consumer, now)
  if not is_open(breaker) or redis.call('HGET', breaker, 'prober') == consumer then return end
  try_again_later(breaker, now)
  redis.call('HSET', breaker, 'prober', consumer)
end

gates.breaker = {
  room = function(breaker, who, now)
    if not is_open(breaker) then return math.huge end
    return held_back(breaker, who, now) == 0 and 1 or 0
  end,
  enter = probe,
  opens = function(breaker, now) return held_back(breaker, '', now) end,
  is_open = is_open,
  held_back = held_back,
  try_again_later = try_again_later,
}
