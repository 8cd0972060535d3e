-- To wait, and to wait no longer. Part of the module `waits`.
--
-- What waits keeps its pending row, uncounted, idle beyond all leases: no worker takes it for being stale. An item waits for
-- one thing at a time, in the order in which entries were added; where it needs several its kind, or the worker, looks at
-- each in turn and lets it wait for the first that is shut.

local ROW_PAGE = 100
local MOST_PAGES = 5

function waits.gate_of(key) return gates[string.match(key, '^dago:(%a+):')] end

-- What "stream entry" waits for; nil if it does not.
function waits.what_for(member)
  local about = redis.call('HGET', PARKED, member)
  local key = about and string.match(about, '^([^\t]*)\t')
  return key and redis.call('ZSCORE', key .. ':waiting', member) and key or nil
end

-- Tell whether an entry waits: then no worker takes it just because it is stale.
function waits.holds(stream, entry) return waits.what_for(stream .. ' ' .. entry) ~= nil end

-- Let "stream entry" wait no longer.
function waits.unpark(member)
  local about = redis.call('HGET', PARKED, member)
  if not about then return end
  local key = string.match(about, '^([^\t]*)\t')
  if key then redis.call('ZREM', key .. ':waiting', member) end
  redis.call('HDEL', PARKED, member)
  redis.call('HINCRBY', PARKED_COUNTS, string.match(member, '^(.*) %S+$'), -1)
end

-- Let an entry wait for *key*. *due*: its place in the row, if that is not when it was added.
function waits.park(stream, entry, key, ends_ms, watched, due)
  local member = stream .. ' ' .. entry
  waits.unpark(member)
  redis.call('ZADD', key .. ':waiting', due or string.match(entry, '^%d+'), member)
  redis.call('HSET', PARKED, member, key .. '\t' .. ends_ms .. '\t' .. watched)
  redis.call('HINCRBY', PARKED_COUNTS, stream, 1)
  redis.call('SADD', AWAITED, key)
end

-- Give back, uncounted, what was just delivered to *consumer*, until *key* lets it in: for a kind's `open`.
function waits.set_aside(stream, group, consumer, entry, key, ends_ms, watched)
  must_hold('hash', stream .. UNCOUNTED, PARKED, PARKED_COUNTS)
  must_hold('zset', key .. ':waiting')
  must_hold('set', AWAITED)
  redis.call('XCLAIM', stream, group, consumer, 0, entry, 'IDLE', RELEASED_MS, 'JUSTID')
  redis.call('HINCRBY', stream .. UNCOUNTED, entry, 1)
  waits.park(stream, entry, key, ends_ms, watched)
end

-- The first *most* that wait for *key* on a stream of *served*, a set.
function waits.first(key, gate, served, most, now)
  local found, highest = {}, gate.upto and whole(gate.upto(now)) or '+inf'
  for page = 0, MOST_PAGES - 1 do
    local members = redis.call('ZRANGEBYSCORE', key .. ':waiting', '-inf', highest, 'LIMIT', page * ROW_PAGE, ROW_PAGE)
    for _, member in ipairs(members) do
      if #found < most and served[string.match(member, '^(.*) %S+$')] then found[#found + 1] = member end
    end
    if #found >= most or #members < ROW_PAGE then break end
  end
  return found
end
