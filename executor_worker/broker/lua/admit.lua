-- Ask for a place among a model's calls.
-- KEYS: throttle. ARGV: consumer, lease_ms, quiet_ms. 
-- Reply: {ms to wait, -1: for another's end, 0: go; the cut; 1 if its key is refused}.

local now = now_ms()
local wait = gates.throttle.turn(KEYS[1], ARGV[1], now)
if wait == 0 then return {0, gates.throttle.call(KEYS[1], ARGV[1], now, ARGV[2]), 0} end
-- If it holds a worker back it is needed for longer.
local refused = redis.call('HGET', KEYS[1], 'refused')
if wait == -1 and not refused then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {wait, 0, refused and 1 or 0}
