-- Commit the end of a run's node, and all that follows from it, in one step and only for its holder; take the next.
--
-- KEYS: work stream, settled markers, group resets, the run's head, dead letters' stream, completed events' stream.
-- ARGV: group, consumer, entry, count, node, epoch, attempt, mirror ('' | 'always' | 'auto'),
--       what ('ended', 'again'), delay_ms of 'again', the node's decision, number of decisions, those, the run's output
--       or '', number of dead letter's words, those, take ('1'), then what take.lua takes.
-- Reply: {'settled' | 'already' | 'late', nil, next as take.lua has it, runs that have ended (module.lua) or nil}, {'fenced'},
--        {'judge', {node, those that ended before it in this very call, …}}: nothing was written.

local stream, markers, resets = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, entry, count = word(), word(), word(), number()
local id, epoch, attempt, mirror = word(), number(), number(), word()
local what, delay_ms = word(), number()

local where = standing(stream, group, consumer, entry, count, markers, resets)
if type(where) == 'table' then return where end
if where == 'fenced' then return {'fenced'} end
if where == 'ours' then held[stream] = 'stream' end

local _, own = read_decision()
local run = where ~= 'already' and runs.open_run(KEYS[4])
local output
if run then
  output = read_decisions(run)
else
  output = read_decisions({given = {}})
end
local letter = {}
for i = 1, number() do letter[i] = word() end
local taking = next_word + 1

local function acknowledge()
  redis.call('HSET', markers, consumer, stream .. ' ' .. entry .. ' ' .. count)
  drop(stream, group, entry, count)
end

local function mirrored()
  if mirror ~= 'auto' then return mirror == 'always' end
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[6])
  if groups.err then return false end
  for _, about in ipairs(groups) do
    if about[2] == FOREIGN_GROUP then return true end
  end
  return false
end

if where == 'already' then return {'already', false, next_entry(taking)} end
must_hold('hash', markers)
if count > 1 then must_hold('hash', stream .. UNCOUNTED) end
local node = run and runs.node_of(run, id)
-- A node that is queued was started too: Redis has lost that, and knows of the node what it knew before.
local current = node and node.at == attempt and run.epoch == epoch and (node.st == 'running' or node.st == 'queued')
  and (run.stopping ~= '' or not runs.OVER[run.status])
if not current then
  acknowledge()
  return {'late', false, next_entry(taking)}
end
if node.st == 'queued' then runs.start_again(run, id, stream, entry, count, consumer) end

local told = #run.mirrored + 1 -- its end, behind a start that was told anew
local cost = tonumber(string.match(own.rest, '"cost_usd":([%d.eE+-]+)') or 0)
if what == 'again' then
  if run.stopping ~= '' then
    runs.finish(run, id, 'cancelled', {took = '-'})
  else
    run.running = run.running - 1
    node.at, node.s, node.rest = node.at + 1, '0', own.rest
    runs.log_node(run, 'node.retrying', id, own.data)
    if delay_ms > 0 then
      node.st = 'waiting'
      runs.set(run, id, node)
      run.timers[1] = {id, 'retry', runs.clock() + delay_ms, node.at}
      run.waiting = {id}
    else
      run.slots = run.slots - 1
      if run.held == '1' then
        node.st = 'ready'
        runs.set(run, id, node)
        run.closed[#run.closed + 1], run.ready[#run.ready + 1] = id, id
      else
        runs.enqueue(run, id)
      end
    end
  end
else
  for _, event in ipairs(own.events) do runs.log(run, event[1], id, event[2]) end
  runs.finish(run, id, own.status, own)
  if run.stopping == '' then runs.follow(run, id) end
end
runs.settle_down(run)
local missing = runs.undecided(run, output)
if missing then return {'judge', missing} end
local copied = own.status == 'failed' and what == 'ended' and mirrored()
if copied then must_hold('stream', KEYS[6]) end
if #letter > 0 then must_hold('stream', KEYS[5]) end
local taken = runs.write_around(run, output, function()
  if copied then redis.call('XADD', KEYS[6], '*', 'data', run.mirrored[told][2]) end
  if cost > 0 then redis.call('HINCRBY', KEYS[4], 'cost', math.floor(cost * 1000000 + 0.5)) end
  if #letter > 0 then redis.call('XADD', KEYS[5], '*', unpack(letter)) end
  acknowledge()
  return next_entry(taking)
end)
return {'settled', false, taken or false, runs.ends[1] and runs.ends}
