-- A run begins anew of which nothing is on its way though it has not ended: what its ended nodes say stays, all else is
-- decided again. Page by page, first what has not ended is forgotten, then the edges of what has are decided. Used after
-- resuming.lua.

local FORGOTTEN, DECIDED = 100, 50 -- nodes a page
local ENDS = {'completed', 'failed', 'skipped', 'cancelled'}

-- From byte *at* of the run's ids on. *told*: how many nodes so far have ended in each way, and how many there are.
function runs.forget_rest(run, told, at)
  local all, counts, ids = redis.call('HGET', run.base, 'ids'), runs.split(told, ' '), nil
  while at and run.ops < runs.most_ops do
    ids, at = runs.page(all, '\t', at, math.min(runs.most_ops, FORGOTTEN))
    runs.prefetch(run, ids)
    for _, id in ipairs(ids) do
      local node = runs.node_of(run, id)
      for i, ending in ipairs(ENDS) do
        if node and node.st == ending then counts[i] = counts[i] + 1 end
      end
      if node and not runs.ENDED[node.st] then
        run.nodes[id] = false
        run.forgotten[#run.forgotten + 1] = id
      end
    end
    counts[5] = counts[5] + #ids
    run.ops = run.ops + #ids
  end
  if at then
    run.cursors[#run.cursors + 1] = 'forget\t' .. table.concat(counts, ' ') .. '\t' .. at
    return
  end
  redis.call('UNLINK', run.base .. ':joins')
  run.left = counts[5]
  for i, ending in ipairs(ENDS) do
    run[ending] = tonumber(counts[i])
    run.left = run.left - run[ending]
  end
  run.cursors[#run.cursors + 1] = 'anew\t' .. run.seq .. '\t1'
end

-- The edges of what had ended when the log was *seq* long: what ends from then on has decided its own.
function runs.decide_anew(run, seq, at)
  local all, ids = redis.call('HGET', run.base, 'ids'), nil
  while at and run.ops < runs.most_ops do
    ids, at = runs.page(all, '\t', at, math.min(runs.most_ops, DECIDED))
    runs.prefetch(run, ids)
    runs.prefetch_places(run, ids)
    for _, id in ipairs(ids) do
      local node = runs.node_of(run, id)
      if not node then
        if runs.place_of(run, id).edges == 0 then runs.make_ready(run, id) end
      elseif runs.ENDED[node.st] and node.e <= seq then
        runs.decide_edges(run, id, 1)
      end
    end
    run.ops = run.ops + #ids
  end
  if at then run.cursors[#run.cursors + 1] = 'anew\t' .. seq .. '\t' .. at end
end
