-- Look at limits: how many places of each are taken, and how much waits.
-- KEYS: limits that items wait for. ARGV: lease_ms, then name and most of each limit the caller keeps to.
-- Reply: name, taken, most, waiting of each.

place_lease_ms = tonumber(ARGV[1])
local names, most, waiting, waited = {}, {}, {}, redis.call('HGETALL', KEYS[1])
local function known(name, number)
  if not most[name] then names[#names + 1] = name end
  most[name], waiting[name] = most[name] or tonumber(number), 0
end
for i = 2, #ARGV, 2 do known(ARGV[i], ARGV[i + 1]) end
for i = 1, #waited, 2 do known(waited[i], waited[i + 1]) end
local counted = {}
local function count(key)
  local name = not counted[key] and waits.gate_of(key) == gates.limit and gates.limit.name_of(key)
  if name and waiting[name] then waiting[name] = waiting[name] + redis.call('ZCARD', key .. ':waiting') end
  counted[key] = true
end
for _, key in ipairs(awaited()) do count(key) end
for _, line in ipairs(shut_lines()) do count(line[1]) end
local now, reply = now_ms(), {}
for _, name in ipairs(names) do
  gates.limit.free_of(name, 0, now) -- so that those whose time is up are looked at
  if waiting[name] == 0 then redis.call('HDEL', KEYS[1], name) end
  for _, word in ipairs({name, redis.call('ZCARD', LIMIT_PREFIX .. name), most[name], waiting[name]}) do
    reply[#reply + 1] = word
  end
end
return reply
