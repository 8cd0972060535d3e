-- Take one entry for a consumer, without waiting. Used by take and settle.

local MOST_PASSED = 100 -- entries a call passes over, since they are not to be run now; then it answers that there is nothing

-- {stream, entry, count, uncounted, refused, fields, kind, what the kind brings along or false, whether its start was told};
-- false where its kind says that it is not to be run now. *how* it came: see lib/kinds.lua.
local function handed(stream, entry, fields, count, group, consumer, how)
  local one = {
    stream = stream, entry = entry, fields = fields, count = count, group = group, consumer = consumer, how = how,
  }
  local kind = kind_of(one)
  local needs = limits_kept and how ~= 'again' and kind.limits and kind.limits(one)
  if needs and not admitted(one, needs) then return false end
  local brought = kind.open(one)
  if brought == false then return false end
  local uncounted, refused = 0, 0
  if count > 1 then
    uncounted = tonumber(redis.call('HGET', stream .. UNCOUNTED, entry) or 0)
    refused = tonumber(redis.call('HGET', stream .. UNCOUNTED, entry .. ' refused') or 0)
  end
  local told = tell_start(one, uncounted) and 1 or 0
  return {stream, entry, count, uncounted, refused, fields, kind.name, brought ~= nil and brought, told}
end

-- XPENDING of nothing: an empty list where the group is not there.
local function pending(...)
  local rows = redis.pcall('XPENDING', ...)
  if not rows.err then return rows end
  if string.sub(rows.err, 1, 7) == 'NOGROUP' then return {} end
  error(rows)
end

-- Count one more delivery of a row to *consumer*; false where the entry was trimmed away (the row is then gone too).
local function claim(stream, group, consumer, entry, count, forgive)
  must_hold('hash', stream .. UNCOUNTED) -- else the delivery counts, and nobody runs it
  local claimed = redis.call('XCLAIM', stream, group, consumer, 0, entry)
  if #claimed == 0 or not claimed[1] then return false end
  if forgive then redis.call('HINCRBY', stream .. UNCOUNTED, entry, 1) end
  return handed(stream, entry, claimed[1][2], count + 1, group, consumer)
end

-- Give back uncounted what was delivered but never run; what is given back already stays as it is.
local function hand_back(row, group, consumer)
  if row.idle >= GIVEN_BACK_MS then return end
  must_hold('hash', row.stream .. UNCOUNTED)
  forget_place(group, row.stream, row.entry)
  redis.call('XCLAIM', row.stream, group, consumer, 0, row.entry, 'IDLE', RELEASED_MS, 'JUSTID')
  redis.call('HINCRBY', row.stream .. UNCOUNTED, row.entry, 1)
end

-- What this consumer has pending and does not know of: one is taken (*uncounted* before others), the rest handed back.
local function own(streams, ours, consumer, forgive, uncounted)
  local rows = {}
  for _, stream in ipairs(streams) do
    local group = group_of(stream, ours)
    for _, row in ipairs(pending(stream, group, '-', '+', 100, consumer)) do
      if row[3] < GIVEN_BACK_MS or not waits(stream, row[1]) then
        local name = stream .. ' ' .. row[1]
        local one = {stream = stream, entry = row[1], idle = row[3], count = row[4], uncounted = name == uncounted}
        table.insert(rows, one.uncounted and 1 or #rows + 1, one)
      end
    end
  end
  local got = false
  for _, row in ipairs(rows) do
    local group = group_of(row.stream, ours)
    if got then
      hand_back(row, group, consumer)
    else
      local unseen = forgive and row.idle < GIVEN_BACK_MS
      got = claim(row.stream, group, consumer, row.entry, row.count, unseen or row.uncounted)
    end
  end
  return got
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

-- An entry that nobody was given yet, of the first stream that has one.
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

-- args from index *at*: the time (RFC 3339), consumer, our group (see groups.lua), lease_ms, own ('' no, 'counted',
-- 'forgiven'), stream and entry not to be counted or '', keep ('1': remember what was read last), number of streams,
-- streams in the order to be asked, then pairs of stream and entry that may be stale.
-- Returns what `handed` does, false where there is nothing, or {'nogroup', stream}.
local function take(args, at)
  told_at = args[at]
  at = at + 1
  local consumer, group, lease_ms = args[at], args[at + 1], tonumber(args[at + 2])
  local streams = {}
  for i = 1, tonumber(args[at + 6]) do streams[i] = args[at + 6 + i] end
  local stale = at + 7 + #streams
  if args[at + 3] ~= '' then
    local got = own(streams, group, consumer, args[at + 3] == 'forgiven', args[at + 4])
    if got then return got end
  end
  for i = stale, #args, 2 do
    local got = not waits(args[i], args[i + 1]) and if_stale(args[i], group, consumer, args[i + 1], lease_ms)
    if got then return got end
  end
  local got = waiting(group, consumer, lease_ms, streams)
  if got then return got end
  for _, kind in ipairs(kinds) do
    if kind.feed then kind.feed(group, consumer) end
  end
  return unread(streams, group, consumer, args[at + 5] == '1')
end

-- For a settle script, whose stream is KEYS[1], and its group and entry ARGV[1] and ARGV[3]: tell what the item's run has
-- to tell, free its places, and take the next entry where one is wanted. From ARGV[at]: number of events, events, '1' or
-- '', then what `take` reads of ARGV. What was committed stays so,
-- whatever is wrong with the streams: the next plain take says what.
local function next_entry(at)
  local events = tonumber(ARGV[at])
  if not was_settled then
    for i = at + 1, at + events do tell(ARGV[i]) end
  end
  at = at + events + 1
  local freed = limits_kept and forget_place(ARGV[1], KEYS[1], ARGV[3])
  if ARGV[at] ~= '1' then
    if freed then pcall(call_up, freed) end
    return false
  end
  local fine, got = pcall(take, ARGV, at + 1)
  if freed then pcall(call_up, freed) end
  return fine and got or fine == false and {'unsure'}
end
