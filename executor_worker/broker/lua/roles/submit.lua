-- Put a job on its queue, and write its record, in one step.
-- KEYS: stream, record. ARGV: the record up to its entry's id, the record after that, ttl_ms, then the job's fields.
-- Reply: the entry's id.

local entry = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
write_record(KEYS[2], entry, ARGV[1] .. entry .. ARGV[2], ARGV[3])
return entry
