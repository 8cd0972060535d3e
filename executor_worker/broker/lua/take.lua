-- Take one entry without waiting: one's own forgotten ones first, then stale ones, then those that waited
-- for a throttle, then new ones.
-- KEYS: the streams. ARGV: see `take` in lib/taking.lua.
-- Reply: {stream, entry, count, uncounted, refused, fields, kind, what it brings along, whether its start
-- was told}, nil, or {'nogroup', stream}.
return take(ARGV, 1)
