-- What a settle script does once the item in hand is settled. After taking.lua.

-- For a settle script, whose stream is KEYS[1], and its group and entry ARGV[1] and ARGV[3]: tell what the item's run has
-- to tell, free its places, and take the next entry where one is wanted. From ARGV[at]: number of events, events, '1' or
-- '', then what `take` reads of ARGV. What was committed stays so, whatever is wrong with the streams: the next plain take
-- says what.
local function next_entry(at)
  local events = tonumber(ARGV[at])
  if not was_settled then
    for i = at + 1, at + events do tell(ARGV[i]) end
  end
  at = at + events + 1
  local freed = limits_kept and gates.limit.forget_place(ARGV[1], KEYS[1], ARGV[3])
  if ARGV[at] ~= '1' then
    if freed then pcall(gates.limit.call_up, freed) end
    return false
  end
  local fine, got = pcall(take, ARGV, at + 1)
  if freed then pcall(gates.limit.call_up, freed) end
  return fine and got or fine == false and {'unsure'}
end
