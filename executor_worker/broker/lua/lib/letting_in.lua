-- To be taken by a worker after waiting. Part of the module `waits`; after taking.lua.

-- XPENDING of nothing: an empty list where the group is not there.
function waits.pending(...)
  local rows = redis.pcall('XPENDING', ...)
  if not rows.err then return rows end
  if string.sub(rows.err, 1, 7) == 'NOGROUP' then return {} end
  error(rows)
end

-- Asked from that very entry on for one, XAUTOCLAIM takes it without looking at others: further on it would drop the
-- rows of entries that were trimmed away, also those of live holders. Only where this one was trimmed it goes on.
function waits.if_stale(stream, ours, consumer, entry, lease_ms)
  local group = group_of(stream, ours)
  local row = waits.pending(stream, group, entry, entry, 1)[1]
  if not row or row[3] < lease_ms then return false end
  must_hold('hash', stream .. UNCOUNTED)
  local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, lease_ms, entry, 'COUNT', 1)[2][1]
  if not claimed then return false end
  local count = waits.pending(stream, group, claimed[1], claimed[1], 1)[1][4]
  return handed(stream, claimed[1], claimed[2], count, group, consumer)
end

-- An entry that has waited for something that lets it in now: it is the consumer's who asks, and so is its place there.
function waits.let_in(group, consumer, lease_ms, streams)
  local served, passed = {}, 0
  for _, stream in ipairs(streams) do served[stream] = true end
  for _, key in ipairs(gates.limit.in_turns(seen_awaited)) do
    local gate = redis.call('EXISTS', key .. ':waiting') == 1 and waits.gate_of(key)
    local now = gate and now_ms()
    while gate and passed < MOST_PASSED do
      local room = gate.room(key, consumer, now)
      local first = room > 0 and waits.first(key, gate, served, 1, now)[1]
      if not first then break end
      local stream, entry = string.match(first, '^(.*) (%S+)$')
      if gate.is_due and not gate.is_due(key, group, stream, entry, room) then break end
      waits.unpark(first)
      redis.call('ZREM', key .. ':waiting', first) -- whatever was noted of it: it must not stand before the others for good
      called_up = true
      local got = waits.if_stale(stream, group, consumer, entry, lease_ms)
      called_up = false
      if got then
        if gate.enter then gate.enter(key, consumer, now) end
        return got
      end
      passed = passed + 1
    end
  end
  return false
end
