-- Take one entry for a consumer, without waiting. Used by take and settle; after handing.lua.

local MOST_PASSED = 100 -- entries a call passes over, since they are not to be run now; then it answers that there is nothing

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
  local got = before and before(streams, group, consumer, lease_ms)
  if not got and #awaited() > 0 then got = waits.let_in(group, consumer, lease_ms, streams) end
  if got then return got end
  for _, kind in ipairs(kinds) do
    if kind.feed then kind.feed(group, consumer) end
  end
  return unread(streams, group, consumer, args[at + 4] == '1')
end
