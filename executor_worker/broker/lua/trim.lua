-- Remove some of the oldest entries of a stream, none that a group has not read.
-- KEYS: stream. ARGV: entries to keep, most entries to remove, after how many ms without any of its consumers a group
-- counts no more (0: never). Reply: how many were removed.

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

local function is_deserted(group)
  local longest = tonumber(ARGV[3])
  if longest == 0 then return false end
  for _, about in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    for i = 1, #about, 2 do
      if about[i] == 'idle' and about[i + 1] < longest then return false end
    end
  end
  return true
end

local read = false -- up to where the slowest group has read
for _, about in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for i = 1, #about, 2 do group[about[i]] = about[i + 1] end
  local last = group['last-delivered-id']
  if (not read or earlier(last, read)) and not is_deserted(group['name']) then read = last end
end
local unread = read and redis.call('XRANGE', stream, '(' .. read, '+', 'COUNT', 1)[1]
if not unread then
  return redis.call('XTRIM', stream, 'MAXLEN', '~', keep, 'LIMIT', most)
end
-- LIMIT is kept to by whole nodes of the stream, so that no more than the excess goes.
return redis.call('XTRIM', stream, 'MINID', '~', unread[1], 'LIMIT', math.min(excess, most))
