-- Take one entry without waiting: one's own forgotten ones first, then stale ones, then those that waited
-- for a throttle, then new ones.
-- KEYS: the streams. ARGV: see `take` in reading.lua.
-- Reply: {stream, entry, count, forgiven, refused, fields, state key or '', state or nil}, nil, or {'nogroup', stream}.
return take(ARGV, 1)
