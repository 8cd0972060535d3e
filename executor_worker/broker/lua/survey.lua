-- Look at all that is waited for: keep the places of those who still call, forget what holds no worker back any more.
-- KEYS: none. ARGV: lease_ms, most entries wanted, the pool's name and a dot, number of streams it serves, those, then
-- consumers whose calls go on.
-- Reply: {things that are left, throttles of those, breakers of those, ms until the next may open or -1, then stream and
-- entry of what could be taken}.

local now, lease_ms, wanted, who = now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local served, callers = {}, {}
for i = 5, 4 + ARGV[4] do served[ARGV[i]] = true end
for i = 5 + ARGV[4], #ARGV do callers[#callers + 1] = ARGV[i] end
local reply = {0, 0, 0, -1}
if not place_lease_ms then look_again = nil end -- this pool keeps to no limits
for _, line in ipairs(shut_lines()) do
  local key, name = line[1], line[2]
  local is_looked_at = redis.call('SISMEMBER', AWAITED, key) == 1 or redis.call('EXISTS', key .. ':waiting') == 0
  if is_looked_at or gates.limit.room(key, who, now) > 0 then
    gates.limit.reopen(key, name)
  else
    reply[1] = reply[1] + 1
  end
end
for _, key in ipairs(awaited()) do
  local gate = waits.gate_of(key)
  if gate and gate.keep then gate.keep(key, callers, now, lease_ms) end
  local opens = gate and gate.opens and gate.opens(key, now) or -1
  if redis.call('EXISTS', key, key .. ':waiting') == 0 then
    redis.call('SREM', AWAITED, key)
  else
    reply[1] = reply[1] + 1
    if gate == gates.throttle then reply[2] = reply[2] + 1 end
    if gate == gates.breaker then reply[3] = reply[3] + 1 end
    if opens > 0 and (reply[4] < 0 or opens < reply[4]) then reply[4] = opens end
  end
  local room = gate and math.min(gate.room(key, who, now), wanted) or 0
  if room > 0 then
    for _, member in ipairs(waits.first(key, gate, served, room, now)) do
      local stream, entry = string.match(member, '^(.*) (%S+)$')
      table.insert(reply, stream)
      table.insert(reply, entry)
    end
  end
end
if reply[1] == 0 then redis.call('DEL', PARKED, PARKED_COUNTS) end
return reply
