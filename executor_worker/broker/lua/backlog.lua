-- What lies in a work stream.
-- KEYS: stream, its dead letters' stream, counts of what waits. ARGV: group.
-- Reply: {entries, pending, of those parked, lag or nil, oldest entry not settled or '', dead letters,
-- seconds on the server's clock, 0 if there is none}.

local stream, group = KEYS[1], ARGV[1]

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
  waiting = math.max(math.min(tonumber(redis.call('HGET', KEYS[3], stream) or 0), pending), 0)
end
local now = oldest ~= '' and tonumber(redis.call('TIME')[1]) or 0
return {entries, pending, waiting, lag, oldest, dead, now}
