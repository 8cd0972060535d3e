-- Take one entry without waiting: one's own forgotten ones first, then stale ones, then new ones.
-- KEYS: the streams. ARGV: see `take` in reading.lua.
-- Reply: {stream, entry, count, forgiven, fields, state key or '', state or nil}, nil, or {'nogroup', stream}.
return take(ARGV, 1)
