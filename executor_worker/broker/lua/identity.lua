-- Whose name it is: one hash a name, of the supervisor that has it.
-- KEYS: the name's hash. ARGV: what (claim, beat, leave), our token, ttl_ms; to claim: the token that must be there
--       ('' = none), then fields and values.
-- Reply: 1, or 0 if another supervisor has it.

local there = redis.call('HGET', KEYS[1], 'token') or ''
if ARGV[1] == 'claim' then
  if there ~= ARGV[4] then return 0 end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'token', ARGV[2], 'beat', 0, unpack(ARGV, 5))
elseif there ~= ARGV[2] then
  return 0
elseif ARGV[1] == 'leave' then
  return redis.call('DEL', KEYS[1])
else
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
