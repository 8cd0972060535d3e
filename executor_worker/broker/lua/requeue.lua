-- Put a dead letter's item back on its stream, its node back to pending, and the letter away, in one step.
-- KEYS: dead letters' stream, work stream, state (or the dead letters' stream where there is none), journal that is
--       named by the letter's former entry.
-- ARGV: letter, state's expected SHA-1 ('-' = leave it alone), document, ttl_ms, what journals of this stream begin
--       with, then the fields of the entry.
-- Reply: {'requeued', entry}, {'conflict', the state now or nil}, {'missing'}.
-- With an interpreter line this script is refused before its first command where memory is full.

if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {'missing'} end
must_hold('stream', KEYS[2])
if ARGV[2] ~= '-' then
  local current = redis.pcall('GET', KEYS[3])
  if type(current) == 'table' then return {'conflict', ''} end
  if not current or redis.sha1hex(current) ~= ARGV[2] then return {'conflict', current} end
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
end
local entry = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 6))
if redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('RENAME', KEYS[4], ARGV[5] .. entry)
  redis.call('PEXPIRE', ARGV[5] .. entry, ARGV[4])
end
redis.call('XDEL', KEYS[1], ARGV[1])
return {'requeued', entry}
