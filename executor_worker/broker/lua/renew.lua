-- Keep entries their holders' for one more lease: idle time restarts, delivery counts stay.
-- KEYS: settled markers, group resets. ARGV: group, stream, consumer, entry, count of each.
-- Reply: the positions (from 0) of those that are another worker's now.

local lost = {}
for i = 1, #ARGV, 5 do
  local group, stream, consumer, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local where, idle = standing(stream, group, consumer, entry, tonumber(ARGV[i + 4]), KEYS[1], KEYS[2])
  -- What is given back stays so: a renewal that comes late must not make others wait for it.
  if where == 'ours' and idle < GIVEN_BACK_MS then
    redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
  elseif where == 'fenced' then
    table.insert(lost, (i - 1) / 5)
  end
end
return lost
