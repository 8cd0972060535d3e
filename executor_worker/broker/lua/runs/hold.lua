-- Hold a run, so that nothing new of it starts, or let it go on.
-- KEYS: the run's head. ARGV: '1' to hold it, '' to let it go on.
-- Reply: {'done'}, {'unknown'}, {'ended', status}, {'stopping', status}.

local run = runs.open_run(KEYS[1])
if not run then return {'unknown'} end
if run.stopping ~= '' then return {'stopping', run.status} end
if runs.OVER[run.status] then return {'ended', run.status} end
if run.held == ARGV[1] then return {'done'} end
run.held = ARGV[1]
must_hold('list', run.base .. ':ready')
if ARGV[1] == '1' then
  -- What is queued becomes what is ready, before what is so already, in the order in which it was queued.
  local open, back = redis.call('HGETALL', run.open_key), {}
  for i = 1, #open, 2 do
    local node = open[i] ~= '' and runs.node_of(run, open[i])
    local stream, entry = string.match(open[i + 1], '^(.*) (%S+)$')
    if node and node.st == 'queued' and stream then
      back[#back + 1] = {open[i], node.q, entry}
      run.removed[#run.removed + 1] = {stream, entry}
    end
  end
  table.sort(back, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return not_after(a[3], b[3])
  end)
  for i = #back, 1, -1 do
    local node = runs.node_of(run, back[i][1])
    node.st = 'ready'
    runs.set(run, back[i][1], node)
    run.closed[#run.closed + 1] = back[i][1]
    run.slots = run.slots - 1
    redis.call('LPUSH', run.base .. ':ready', back[i][1])
    run.backlog = run.backlog + 1
  end
end
runs.settle_down(run)
runs.write(run)
return {'done'}
