-- Acknowledge an item of which nothing is written, or whose end is written already; then take the next.
-- KEYS: work stream, settled markers, group resets. ARGV: group, consumer, entry, count, take ('1'), then what take.lua
-- takes. Reply: {'settled' | 'already', nil, next as take.lua has it, or {'unsure'} where that went wrong}, {'fenced'}.

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where == 'already' then return {'already', false, next_entry(5)} end
if where ~= 'ours' then return {'fenced'} end
must_hold('hash', KEYS[2], KEYS[1] .. UNCOUNTED)
redis.call('HSET', KEYS[2], ARGV[2], KEYS[1] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
redis.call('HDEL', KEYS[1] .. UNCOUNTED, ARGV[3], ARGV[3] .. ' refused', ARGV[3] .. ' repeats', ARGV[3] .. ' since')
return {'settled', false, next_entry(5)}
