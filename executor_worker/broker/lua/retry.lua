-- Put a failed node's item up again: the node is pending, its item on its stream, in one step.
-- KEYS: state, work stream, the journal of the run before (or the state's key), the queues' set.
-- ARGV: state's expected SHA-1, document, ttl_ms, data, queue to be made known or ''.
-- Reply: the entry; nil if the state has changed meanwhile.
-- With an interpreter line this script is refused before its first command where memory is full.

local current = redis.pcall('GET', KEYS[1])
if type(current) ~= 'string' or redis.sha1hex(current) ~= ARGV[1] then return false end
must_hold('stream', KEYS[2])
must_hold('set', KEYS[4])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if KEYS[3] ~= KEYS[1] then redis.call('DEL', KEYS[3]) end
if ARGV[5] ~= '' then redis.call('SADD', KEYS[4], ARGV[5]) end
return redis.call('XADD', KEYS[2], '*', 'data', ARGV[4])
