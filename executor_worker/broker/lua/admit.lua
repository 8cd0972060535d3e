-- Ask for a place among a model's calls.
-- KEYS: throttle. ARGV: consumer, lease_ms, quiet_ms. Reply: {ms to wait, -1: for another's end, 0: go; the cut}.

local now = now_ms()
local wait = turn(KEYS[1], ARGV[1], now)
if wait == 0 then return {0, enter(KEYS[1], ARGV[1], now, ARGV[2])} end
-- Where it holds somebody back it is needed for longer.
if wait == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {wait, 0}
