-- Ask whether a tool may be called: not while it, or its server, is held back, but once a minute.
-- KEYS: its breakers. ARGV: consumer.
-- Reply: {ms to wait, 0: go; for which of them; since when it is held back (ms); why}.

local now = now_ms()
for i, breaker in ipairs(KEYS) do
  local wait = gates.breaker.held_back(breaker, ARGV[1], now)
  if wait > 0 then
    local about = redis.call('HMGET', breaker, 'began', 'why')
    return {wait, i, tonumber(about[1] or now), about[2] or ''}
  end
end
for _, breaker in ipairs(KEYS) do gates.breaker.enter(breaker, ARGV[1], now) end
return {0, 0, 0, ''}
