-- Let entries wait for their throttles no longer: whoever takes one sees why.
-- ARGV: stream and entry of each.

for i = 1, #ARGV, 2 do
  local member = ARGV[i] .. ' ' .. ARGV[i + 1]
  for _, throttle in ipairs(throttles()) do redis.call('ZREM', throttle .. ':waiting', member) end
  redis.call('HDEL', PARKED, member)
end
