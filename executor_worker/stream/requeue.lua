-- Put a dead letter's item back on its stream, its node back to pending, and the letter away, in one step.
-- KEYS: dead letters' stream, work stream, state (or the dead letters' stream where there is none).
-- ARGV: letter, state's expected SHA-1 ('-' = leave it alone), document, ttl_ms, then the fields of the entry.
-- Reply: {'requeued', entry}, {'conflict', the state now or nil}, {'missing'}.
-- With an interpreter line this script is refused before its first command where memory is full.

if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {'missing'} end
if ARGV[2] ~= '-' then
  local current = redis.pcall('GET', KEYS[3])
  if type(current) == 'table' then return {'conflict', ''} end
  if not current or redis.sha1hex(current) ~= ARGV[2] then return {'conflict', current} end
  redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
end
local entry = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 5))
redis.call('XDEL', KEYS[1], ARGV[1])
return {'requeued', entry}
