-- Make sure of what a blocking read has brought: it may have lain on the line for longer than the lease. Where it is
-- still ours its idle time restarts, and its kind opens it in the same moment, before another worker can have settled it.
-- KEYS: stream, settled markers, group resets. ARGV: group, consumer, entry, count, late ('1': its lease has passed meanwhile),
-- the time (RFC 3339), names and values of its fields.
-- Reply: {where it is, see `standing`, kind, what it brings along, whether its start was told}; {'passed'}: it is not to be
-- run now.

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where ~= 'ours' and where ~= 'gone' then return {where} end
if where == 'ours' then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID') end
local fields = {}
for i = 7, #ARGV do fields[i - 6] = ARGV[i] end
told_at = ARGV[6]
local how = where == 'gone' and (ARGV[5] == '1' and 'late' or 'lost') or nil
local got = handed(KEYS[1], ARGV[3], fields, tonumber(ARGV[4]), ARGV[1], ARGV[2], how)
if not got then return {'passed'} end
return {where, got[7], got[8], got[9]}
