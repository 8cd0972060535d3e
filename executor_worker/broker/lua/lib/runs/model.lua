-- A run as scripts see it: what is read of it is kept in tables, what changes is written at the end, in one place.
-- The hash at `base` is the run's head; the other keys of the run begin with it. Names: broker/names.

local STOP_MS = 1700 -- from a cancellation to the end of what can't be reached; keepers look every 0.2 s
local LOOK_MS = 5000 -- until a run is looked at for the first time
runs.ENDED = {completed = true, failed = true, skipped = true, cancelled = true}
runs.OVER = {completed = true, failed = true, cancelled = true}
-- Fields of the head: numbers first, as many as there are in NUMBERS.
local HEAD = {
  'v', 'epoch', 'left', 'slots', 'window', 'running', 'completed', 'failed', 'cancelled', 'skipped', 'started', 'todo',
  'backlog', 'status', 'stopping', 'held', 'error', 'failure', 'output', 'ttl', 'traceparent', 'tracestate',
}
local NUMBERS = 13
local TEXTS = 17 -- the last text that changes
runs.HEAD = HEAD

runs.clock = now_ms

-- The same as it is stored.
local clock_text
function runs.now()
  clock_text = clock_text or tostring(now_ms())
  return clock_text
end

-- Milliseconds have 13 digits: Lua writes numbers of up to 14 as they are.
function runs.int(number) return tostring(number) end

-- RFC 3339, UTC, milliseconds. *ms*: as text.
local stamps = {} -- by the digits of the second
function runs.rfc3339(ms)
  local digits = string.sub(ms, 1, -4)
  local text = stamps[digits]
  if not text then
    text = date_time(tonumber(digits))
    stamps[digits] = text
  end
  return text .. '.' .. string.sub(ms, -3) .. 'Z'
end

local clock_stamp
function runs.stamp()
  clock_stamp = clock_stamp or runs.rfc3339(runs.now())
  return clock_stamp
end

function runs.quoted(text) return cjson.encode(text) end

function runs.split(text, separator)
  local parts = {}
  if text == '' then return parts end
  for part in string.gmatch(text .. separator, '([^' .. separator .. ']*)' .. separator) do parts[#parts + 1] = part end
  return parts
end

-- Parts of *text* from byte *at* on, and the byte where the next begins, nil at the end.
function runs.page(text, separator, at, most)
  local parts = {}
  while at <= #text and #parts < most do
    local last = string.find(text, separator, at, true) or #text + 1
    parts[#parts + 1] = string.sub(text, at, last - 1)
    at = last + 1
  end
  return parts, at <= #text and at or nil
end

-- Call *command* on *key* with any number of words, in slices that the stack holds.
function runs.sliced(command, key, words)
  for from = 1, #words, 4000 do
    redis.call(command, key, unpack(words, from, math.min(from + 3999, #words)))
  end
end

-- The values of many fields of a hash.
function runs.values_of(key, ids)
  if #ids <= 4000 then return redis.call('HMGET', key, unpack(ids)) end
  local found = {}
  for from = 1, #ids, 4000 do
    local last = math.min(from + 3999, #ids)
    for i, value in ipairs(redis.call('HMGET', key, unpack(ids, from, last))) do found[from + i - 1] = value end
  end
  return found
end

-- A node's field: status, attempt, seq of the log when it became ready and when it ended, when it was queued, started
-- and ended (ms), its edges taken ('*' all, '-' none, 'x' dead, else a digit for each), then its error and its metadata,
-- both JSON, on lines of their own. Times stay texts: they are seldom compared, and written with every change.
function runs.parse_node(raw)
  local st, at, r, e, q, s, d, took, rest =
    string.match(raw, '^(%a+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)\t([^\n]*)(.*)$')
  return {
    st = st, at = tonumber(at), r = tonumber(r), e = tonumber(e), q = q, s = s, d = d, took = took, rest = rest,
  }
end

function runs.node_text(n)
  return n.st .. '\t' .. n.at .. '\t' .. n.r .. '\t' .. n.e .. '\t' .. n.q .. '\t' .. n.s .. '\t' .. n.d .. '\t' .. n.took .. n.rest
end

-- What a script needs to know of a node's place in the graph: see `graph/plan.py`, which writes it.
function runs.parse_place(raw)
  local inline, need, edges, kind, queue, handled, inputs, reads, at =
    string.match(raw, '^(%a)\t(%d+)\t(%d+)\t([^\t]*)\t([^\t]*)\t(%d)\t(%d)\n([^\n]*)()')
  return {
    inline = inline, need = tonumber(need), edges = tonumber(edges), kind = kind, queue = queue,
    handled = handled == '1', inputs = inputs == '1', names = reads, raw = raw, at = at,
  }
end

-- Some of its outgoing edges, from byte *at* on: {target, need, edges, its byte} of each; and the byte of the next one.
function runs.edges_from(place, at, most)
  local out, raw = {}, place.raw
  while #out < most and at <= #raw do
    local target, need, edges, next_at = string.match(raw, '^\n([^\t]*)\t(%d+)\t(%d+)()', at)
    out[#out + 1] = {target, tonumber(need), tonumber(edges), at}
    at = next_at
  end
  return out, at
end

-- A run as its head's fields say; *was*: their values in HEAD's order, false or '' where there is none; kept, the numbers
-- among them as such.
function runs.new_run(base, was)
  local shard, id = string.match(base, '^(.*:)run:([^:]*)$')
  local run = {
    base = base, nodes_key = base .. ':nodes', edges_key = base .. ':edges', open_key = base .. ':open', log_key = base .. ':log',
    outputs_key = base .. ':outputs', joins_key = base .. ':joins', shard = shard, id = id, quoted = '"' .. id .. '"', was = was, seq = 0, ops = 0,
    v = 0, epoch = 0, left = 0, slots = 0, window = 0, running = 0, completed = 0, failed = 0, cancelled = 0, skipped = 0,
    started = 0, todo = 0, backlog = 0, status = was[14], stopping = was[15] or '', held = was[16] or '', error = was[17] or '',
    failure = was[18], has_output = was[19] == '1', ttl_ms = (tonumber(was[20]) or 86400) * 1000,
    nodes = {}, changed = {}, joins = {}, joined = {}, places = {}, outputs = {}, opened = {}, closed = {}, removed = {},
    queue = {}, ready = {}, now_ended = {}, events = {}, mirrored = {}, work = {}, cursors = {}, judge = {}, given = {},
    timers = {}, waiting = {}, forgotten = {}, popped = 0, derived = {}, known = {},
  }
  for i = 1, NUMBERS do
    was[i] = tonumber(was[i]) or 0
    run[HEAD[i]] = was[i]
  end
  run.had_slots = run.slots
  return run
end

-- The run at *base*, or nil where there is none. One whose write waits for the take that follows in the same script, which
-- may start another node of it, is `deferred`. *any_layout*: also where it is newer than what is read here.
function runs.open_run(base, any_layout)
  if runs.deferred and runs.deferred.base == base then return runs.deferred end
  local was = redis.call('HMGET', base, unpack(HEAD))
  if not was[1] then return nil end
  local run = runs.new_run(base, was)
  if run.v > newest_layout and not any_layout then
    error({err = 'NEWER the run ' .. run.id .. ' is kept in layout ' .. run.v .. ', this program reads up to ' .. newest_layout
      .. ': upgrade it'})
  end
  run.seq = redis.call('LLEN', run.log_key)
  held[run.log_key] = 'list'
  return run
end

-- Names and values of the head's fields that have changed.
function runs.changed_head(run)
  local words, count, was = {}, 0, run.was
  for i = 1, TEXTS do
    local name, value = HEAD[i], run[HEAD[i]]
    if value ~= (was[i] or '') then words[count + 1], words[count + 2], count = name, value, count + 2 end
  end
  return words
end

function runs.node_of(run, id)
  local known = run.nodes[id]
  if known == nil then
    local raw = redis.call('HGET', run.nodes_key, id)
    held[run.nodes_key] = 'hash'
    known = raw and runs.parse_node(raw) or false
    run.nodes[id] = known
  end
  return known
end

function runs.place_of(run, id)
  local known = run.places[id]
  if not known then
    local raw = redis.call('HGET', run.edges_key, id)
    if not raw then error({err = 'ERR the run ' .. run.id .. ' has no node ' .. id}) end
    known = runs.parse_place(raw)
    run.places[id] = known
  end
  return known
end

function runs.join_of(run, id, edges)
  local known = run.joins[id]
  if known == nil then
    local open, taken
    if edges > 1 then
      local key = run.joins_key
      open, taken = string.match(redis.call('HGET', key, id) or '', '^(%d+) (%d+)$')
      held[key] = 'hash'
    end
    known = {open = tonumber(open) or edges, taken = tonumber(taken) or 0, stored = open ~= nil}
    run.joins[id] = known
  end
  return known
end

-- The counters of a join are needed no longer.
function runs.close_join(run, id)
  local known = run.joins[id]
  if known then run.joined[id] = known.stored and 'gone' or nil end
end

-- Read the fields of *ids* at once.
function runs.prefetch(run, ids)
  local unknown = {}
  for _, id in ipairs(ids) do
    if run.nodes[id] == nil then unknown[#unknown + 1] = id end
  end
  if #unknown == 0 then return end
  for i, raw in ipairs(runs.values_of(run.nodes_key, unknown)) do
    run.nodes[unknown[i]] = raw and runs.parse_node(raw) or false
  end
end

-- Read the places of *ids* at once.
function runs.prefetch_places(run, ids)
  if #ids == 0 then return end
  for i, raw in ipairs(redis.call('HMGET', run.edges_key, unpack(ids))) do
    if raw then run.places[ids[i]] = runs.parse_place(raw) end
  end
end

-- Log an event. *mirror*: the rest of its JSON for a stream of others, which begins behind id and time; where an output
-- stands in it, only up to there, *tail* is what comes after that.
function runs.log(run, kind, node, data, stream, mirror, output, tail)
  run.seq = run.seq + 1
  run.ops = run.ops + 1
  local record = kind .. '\t' .. runs.now() .. '\t' .. node .. '\t' .. data
  run.events[#run.events + 1] = record
  if stream then
    local id = string.sub(redis.sha1hex(run.id .. '\n' .. runs.int(run.seq) .. '\n' .. record), 1, 32)
    local text
    if tail and tail ~= '' then
      text = '{"id":"' .. id .. '","timestamp":"' .. runs.stamp() .. '",' .. mirror .. output .. tail
    else
      text = '{"id":"' .. id .. '","timestamp":"' .. runs.stamp() .. '",' .. mirror
    end
    run.mirrored[#run.mirrored + 1] = {stream, text}
  end
end

function runs.log_run(run, kind, data)
  local inner = '"graph_id":' .. run.quoted .. (data ~= '{}' and ',' .. string.sub(data, 2) or '}')
  runs.log(run, kind, '', data, GRAPH_EVENTS,
    '"type":"' .. kind .. '","graph_id":' .. run.quoted .. ',"execution_id":' .. run.quoted .. ',"data":{' .. inner .. '}')
end

function runs.log_node(run, kind, node, data, stream)
  if not stream then return runs.log(run, kind, node, data) end
  local name, id = runs.quoted(node), run.quoted
  runs.log(run, kind, node, data, stream, '"type":"' .. kind .. '","graph_id":' .. id .. ',"execution_id":' .. id
    .. ',"node_id":' .. name .. ',"data":{"graph_id":' .. id .. ',"node_id":' .. name
    .. (data ~= '{}' and ',' .. string.sub(data, 2) or '}') .. '}')
end
