-- What keepers look at in limits, once a second: those whose time is up, and lines that are not looked at. After gates/limits.lua.

-- Look again at those whose time is up: most were renewed meanwhile.
look_again = function(name, members, now)
  for _, member in ipairs(members) do
    local group, stream, entry = string.match(member, '^(%S+) (.*) (%S+)$')
    local rows = redis.pcall('XPENDING', stream, group, entry, entry, 1)
    local row = not rows.err and rows[1]
    if row and row[3] < place_lease_ms then
      redis.call('ZADD', LIMIT_PREFIX .. name, now + place_lease_ms - row[3], member)
    else
      gates.limit.give_back(name, member)
      if not row then redis.call('HDEL', PLACES, stream .. ' ' .. entry) end
    end
  end
end

-- Lines that are not looked at, of all limits that items wait for.
local function shut_lines()
  local found, kept = {}, redis.pcall('HGETALL', LIMITS)
  if kept.err then return found end
  local function add(name)
    for _, key in ipairs(redis.call('SMEMBERS', gates.limit.shut_key(name))) do found[#found + 1] = {key, name} end
  end
  for i = 1, #kept, 2 do if kept[i] ~= TOTAL then add(kept[i]) end end
  if #kept > 0 then add(TOTAL) end -- lines of roles are shut for its sake, too
  return found
end
