-- Hold no caller back any more: what waits for the throttle is taken as there is room. All keepers are told.
-- KEYS: throttle. ARGV: channel. Reply: 1, or 0 if it held no caller back.

local there = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[1] .. ':calls')
redis.pcall('PUBLISH', ARGV[1], 'open ' .. KEYS[1])
return there
