-- Hand an entry of another queue on to the work stream, once.
-- KEYS: the stream it is on, the work stream. ARGV: group, entry, delete ('1'), then the fields of what is handed on.
-- Reply: 1, or 0 if another keeper has done it.

local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if rows.err or not rows[1] then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] == '1' then redis.call('XDEL', KEYS[1], ARGV[2]) end
return 1
