-- Remove some of the oldest entries of a stream, none that a group has not read.
-- KEYS: stream. ARGV: entries to keep, most entries to remove. Reply: how many were removed.

local stream, keep, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local excess = redis.call('XLEN', stream) - keep
if excess <= 0 then return 0 end

local function earlier(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if #a_ms ~= #b_ms then return #a_ms < #b_ms end
  if a_ms ~= b_ms then return a_ms < b_ms end
  if #a_seq ~= #b_seq then return #a_seq < #b_seq end
  return a_seq < b_seq
end

local read = false -- up to where the slowest group has read
for _, about in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  for i = 1, #about, 2 do
    if about[i] == 'last-delivered-id' and (not read or earlier(about[i + 1], read)) then read = about[i + 1] end
  end
end
local unread = read and redis.call('XRANGE', stream, '(' .. read, '+', 'COUNT', 1)[1]
if not unread then
  return redis.call('XTRIM', stream, 'MAXLEN', '~', keep, 'LIMIT', most)
end
-- LIMIT is kept to by whole nodes of the stream, so that no more than the excess goes.
return redis.call('XTRIM', stream, 'MINID', '~', unread[1], 'LIMIT', math.min(excess, most))
