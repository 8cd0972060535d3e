-- Delete a consumer that has nothing pending; XGROUP DELCONSUMER would drop what is.
-- KEYS: settled markers, then the streams. ARGV: consumer, then each stream's group. Reply: 1, or 0 if something is
-- pending.

for i = 2, #KEYS do
  local rows = redis.pcall('XPENDING', KEYS[i], ARGV[i], '-', '+', 1, ARGV[1])
  if not rows.err and #rows > 0 then return 0 end
end
for i = 2, #KEYS do redis.pcall('XGROUP', 'DELCONSUMER', KEYS[i], ARGV[i], ARGV[1]) end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
