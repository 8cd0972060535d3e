-- Read an entry again for a consumer that is dead, to be answered in its name.
-- KEYS: stream. ARGV: group, consumer, entry, count.
-- Reply: what take.lua has, without fields where it was trimmed away; nil if it is not to be answered any more.

local found = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
return handed(KEYS[1], ARGV[3], found and found[2] or {}, tonumber(ARGV[4]), ARGV[1], ARGV[2], 'again')
