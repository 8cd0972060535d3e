-- Take one entry for a consumer, without waiting. Used by take and settle; after handing.lua.

local MOST_PASSED = 100 -- entries a call passes over, since they are not to be run now; then it answers that there is nothing

-- XPENDING of nothing: an empty list where the group is not there.
local function pending(...)
  local rows = redis.pcall('XPENDING', ...)
  if not rows.err then return rows end
  if string.sub(rows.err, 1, 7) == 'NOGROUP' then return {} end
  error(rows)
end

-- Asked from that very entry on for one, XAUTOCLAIM takes it without looking at others: further on it would drop the
-- rows of entries that were trimmed away, also those of live holders. Only where this one was trimmed it goes on.
local function if_stale(stream, ours, consumer, entry, lease_ms)
  local group = group_of(stream, ours)
  local row = pending(stream, group, entry, entry, 1)[1]
  if not row or row[3] < lease_ms then return false end
  must_hold('hash', stream .. UNCOUNTED)
  local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, lease_ms, entry, 'COUNT', 1)[2][1]
  if not claimed then return false end
  local count = pending(stream, group, claimed[1], claimed[1], 1)[1][4]
  return handed(stream, claimed[1], claimed[2], count, group, consumer)
end

-- An entry that has waited for something that lets it in now: it is the consumer's who asks, and so is its place there.
local function waiting(group, consumer, lease_ms, streams)
  local served, passed = {}, 0
  for _, stream in ipairs(streams) do served[stream] = true end
  for _, key in ipairs(in_turns(awaited())) do
    local gate = redis.call('EXISTS', key .. ':waiting') == 1 and gate_of(key)
    local now = gate and now_ms()
    while gate and passed < MOST_PASSED do
      local room = gate.room(key, consumer, now)
      local first = room > 0 and first_waiting(key, gate, served, 1, now)[1]
      if not first then break end
      local stream, entry = string.match(first, '^(.*) (%S+)$')
      if gate.is_due and not gate.is_due(key, group, stream, entry, room) then break end
      unpark(first)
      redis.call('ZREM', key .. ':waiting', first) -- whatever was noted of it: it must not stand before the others for good
      called_up = true
      local got = if_stale(stream, group, consumer, entry, lease_ms)
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

-- An entry that no consumer was given yet, of the first stream that has one.
local function unread(streams, ours, consumer, keep)
  local passed = 0
  if keep then must_hold('hash', LAST_READ) end
  for _, stream in ipairs(streams) do
    local group = group_of(stream, ours)
    while passed < MOST_PASSED do
      local reply = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
      if type(reply) == 'table' and reply.err then
        if string.sub(reply.err, 1, 7) == 'NOGROUP' then return {'nogroup', stream} end
        error(reply)
      end
      if not reply then break end
      local entry = reply[1][2][1]
      if keep or groups[stream] then redis.call('HSET', LAST_READ, stream, entry[1]) end
      local got = handed(stream, entry[1], entry[2], 1, group, consumer)
      if got then return got end
      passed = passed + 1
    end
  end
  return false
end

-- args from index *at*: the time (RFC 3339), consumer, our group (see groups.lua), lease_ms, keep ('1': remember what was
-- read last), number of streams, streams in the order to be asked.
-- Returns what `handed` does, false if there is nothing, or {'nogroup', stream}. *before*, if given, is asked for an
-- entry first: before(streams, group, consumer, lease_ms).
local function take(args, at, before)
  told_at = args[at]
  local consumer, group, lease_ms = args[at + 1], args[at + 2], tonumber(args[at + 3])
  local streams = {}
  for i = 1, tonumber(args[at + 5]) do streams[i] = args[at + 5 + i] end
  local got = before and before(streams, group, consumer, lease_ms) or waiting(group, consumer, lease_ms, streams)
  if got then return got end
  for _, kind in ipairs(kinds) do
    if kind.feed then kind.feed(group, consumer) end
  end
  return unread(streams, group, consumer, args[at + 4] == '1')
end
