-- Make sure of what a blocking read has brought: it may have lain on the line for longer than the lease. Where it is
-- still ours its idle time restarts, and the state is read in the same moment, before anybody else can have settled it.
-- KEYS: stream, settled markers, group resets, state (or the markers' key where there is none).
-- ARGV: group, consumer, entry, count. Reply: {where it is, see `standing`, the state or nil}.

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where == 'ours' then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID') end
local state = KEYS[4] ~= KEYS[2] and redis.pcall('GET', KEYS[4])
if type(state) == 'table' then state = '' end
return {where, state}
