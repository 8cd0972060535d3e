-- Make a group where it is missing.
-- KEYS: stream, group resets, last read ids. ARGV: group, keep ('1': settled entries stay in the stream), where it
-- begins where nothing is known of it ('$': after what is there).
-- Reply: nil if it is there, else the id it starts after; what lies before has lost its pending rows.

local stream, group = KEYS[1], ARGV[1]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if not groups.err then
  for _, about in ipairs(groups) do
    if about[2] == group then return false end
  end
end
local start = ARGV[2] == '1' and redis.call('HGET', KEYS[3], stream) or ARGV[3]
redis.call('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
if start == '$' then
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  start = last and last[1] or '0-0'
end
redis.call('HSET', KEYS[2], stream, start)
redis.pcall('DEL', stream .. UNCOUNTED) -- deliveries are counted anew: each of those counts so far
return start
