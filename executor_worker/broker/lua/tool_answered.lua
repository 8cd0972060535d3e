-- A call of a tool was answered: whatever was held back for it goes on. All keepers are told of that.
-- KEYS: its breakers. ARGV: channel. Reply: which of them held calls back.

local closed = {}
for i, breaker in ipairs(KEYS) do
  local was_open = gates.breaker.is_open(breaker)
  redis.call('DEL', breaker)
  if was_open then
    closed[#closed + 1] = i
    redis.pcall('PUBLISH', ARGV[1], 'open ' .. breaker)
  end
end
return closed
