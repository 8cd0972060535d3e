-- A key has worked for a model: if it is refused later, items wait instead of failing.
-- KEYS: the key's models. ARGV: model, how long that is remembered (ms). Reply: nil.

redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now_ms()))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
