-- Take one entry without waiting: one's own forgotten ones first, then stale ones, then those that waited
-- for a throttle, then new ones.
-- KEYS: the streams. ARGV: own ('' no, 'counted', 'forgiven'), stream and entry not to be counted or '', number of entries
-- that may be stale, their streams and entries in turns, then what `take` in lib/taking.lua reads.
-- Reply: {stream, entry, count, uncounted, refused, fields, kind, what it brings along, whether its start
-- was told}, nil, or {'nogroup', stream}.

-- Count one more delivery of a row to *consumer*; false if the entry was trimmed away (the row is then gone too).
local function claim(stream, group, consumer, entry, count, forgive)
  must_hold('hash', stream .. UNCOUNTED) -- else the delivery counts, and no worker runs it
  local claimed = redis.call('XCLAIM', stream, group, consumer, 0, entry)
  if #claimed == 0 or not claimed[1] then return false end
  if forgive then redis.call('HINCRBY', stream .. UNCOUNTED, entry, 1) end
  return handed(stream, entry, claimed[1][2], count + 1, group, consumer)
end

-- Give back uncounted what was delivered but never run; what is given back already stays as it is.
local function hand_back(row, group, consumer)
  if row.idle >= GIVEN_BACK_MS then return end
  must_hold('hash', row.stream .. UNCOUNTED)
  gates.limit.forget_place(group, row.stream, row.entry)
  redis.call('XCLAIM', row.stream, group, consumer, 0, row.entry, 'IDLE', RELEASED_MS, 'JUSTID')
  redis.call('HINCRBY', row.stream .. UNCOUNTED, row.entry, 1)
end

-- What this consumer has pending and does not know of: one is taken (*uncounted* before others), the rest handed back.
local function own(streams, ours, consumer, forgive, uncounted)
  local rows = {}
  for _, stream in ipairs(streams) do
    local group = group_of(stream, ours)
    for _, row in ipairs(waits.pending(stream, group, '-', '+', 100, consumer)) do
      if row[3] < GIVEN_BACK_MS or not waits.holds(stream, row[1]) then
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

local last_stale = 3 + 2 * ARGV[3]

return take(ARGV, last_stale + 1, function(streams, group, consumer, lease_ms)
  if ARGV[1] ~= '' then
    local got = own(streams, group, consumer, ARGV[1] == 'forgiven', ARGV[2])
    if got then return got end
  end
  for i = 4, last_stale, 2 do
    local got = not waits.holds(ARGV[i], ARGV[i + 1]) and waits.if_stale(ARGV[i], group, consumer, ARGV[i + 1], lease_ms)
    if got then return got end
  end
  return false
end)
