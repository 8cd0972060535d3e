-- What lies in a work stream.
-- KEYS: stream, its dead letters' stream, the other work streams. ARGV: the stream's group, those of the others.
-- Reply: {entries, pending, of those parked, lag or nil, oldest entry not settled or '', dead letters,
-- seconds on the server's clock, 0 where there is none}.

local stream, group = KEYS[1], ARGV[1]

-- Counted one by one only where entries of several streams may stand in the same row.
local function parked(alone)
  local found = 0
  for _, throttle in ipairs(throttles()) do
    local waiting = throttle .. ':waiting'
    if alone then
      found = found + redis.call('ZCARD', waiting)
    else
      for _, member in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
        if string.match(member, '^(.*) %S+$') == stream then found = found + 1 end
      end
    end
  end
  return found
end

local function nothing_pending_elsewhere()
  for i = 3, #KEYS do
    local summary = redis.pcall('XPENDING', KEYS[i], ARGV[i - 1])
    if not summary.err and summary[1] > 0 then return false end
  end
  return true
end

local entries, dead = redis.call('XLEN', stream), redis.call('XLEN', KEYS[2])
local pending, lag, read = 0, false, '-'
local groups = redis.pcall('XINFO', 'GROUPS', stream)
for _, fields in ipairs(groups.err and {} or groups) do
  local about = {}
  for i = 1, #fields, 2 do about[fields[i]] = fields[i + 1] end
  if about['name'] == group then
    pending, lag, read = about['pending'], about['lag'], '(' .. about['last-delivered-id']
  end
end
local first = entries > 0 and redis.call('XRANGE', stream, read, '+', 'COUNT', 1)[1]
local oldest = first and first[1] or ''
local waiting = 0
if pending > 0 then
  oldest = redis.call('XPENDING', stream, group)[2] or oldest
  waiting = math.min(parked(nothing_pending_elsewhere()), pending)
end
local now = oldest ~= '' and tonumber(redis.call('TIME')[1]) or 0
return {entries, pending, waiting, lag, oldest, dead, now}
