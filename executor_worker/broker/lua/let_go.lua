-- Let entries wait for their throttles no longer: who takes one sees why.
-- KEYS: what is parked. ARGV: stream and entry of each. Reply: nil.

for i = 1, #ARGV, 2 do
  local member = ARGV[i] .. ' ' .. ARGV[i + 1]
  for _, throttle in ipairs(throttles()) do redis.call('ZREM', throttle .. ':waiting', member) end
  redis.call('HDEL', KEYS[1], member)
end
