-- Let entries wait no longer, whatever they wait for: who takes one sees why.
-- KEYS: what is parked. ARGV: stream and entry of each. Reply: nil.

for i = 1, #ARGV, 2 do
  local member = ARGV[i] .. ' ' .. ARGV[i + 1]
  local key = waits.what_for(member)
  -- What waited for a place is answered, not run: it needs none.
  if key and string.sub(key, 1, #LIMIT_PREFIX) == LIMIT_PREFIX then
    redis.call('HSET', ARGV[i] .. UNCOUNTED, ARGV[i + 1] .. ' pass', 1)
  end
  waits.unpark(member)
end
