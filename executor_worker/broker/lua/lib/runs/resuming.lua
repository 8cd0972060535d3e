-- Going on from cursors: what earlier calls had to leave. Used after advance.lua, where a step may be done.

local CURSORS_READ = 100 -- at once

-- The nodes without incoming edges are ready, from byte *at* of the list of them on.
function runs.ready_roots(run, at)
  local all, roots = run.roots or redis.call('HGET', run.base, 'roots'), nil
  while at and run.ops < runs.most_ops do
    roots, at = runs.page(all, '\t', at, math.min(runs.most_ops, 100))
    runs.prefetch_places(run, roots)
    for _, id in ipairs(roots) do runs.make_ready(run, id) end
  end
  if at then run.cursors[#run.cursors + 1] = 'roots\t\t' .. at end
end

-- Go on from *cursors*; answers how many of them that took.
function runs.go_on_from(run, cursors)
  for i, cursor in ipairs(cursors) do
    if run.ops >= runs.most_ops then return i - 1 end
    local kind, id, at, byte = string.match(cursor, '^(%a+)\t([^\t]*)\t(%d+)\t?(%d*)$')
    if kind == 'cancel' then
      runs.cancel_rest(run, tonumber(at))
    elseif kind == 'document' then
      runs.document_page(run, tonumber(at))
    elseif kind == 'open' then
      runs.take_back(run, at)
    elseif run.stopping == '' then
      if kind == 'edges' then
        runs.decide_edges(run, id, tonumber(at), tonumber(byte))
      elseif kind == 'root' then
        runs.make_ready(run, id)
      elseif kind == 'roots' then
        runs.ready_roots(run, tonumber(at))
      elseif kind == 'node' then
        run.work[#run.work + 1] = id
      elseif kind == 'forget' then
        runs.forget_rest(run, id, tonumber(at))
      elseif kind == 'anew' then
        runs.decide_anew(run, tonumber(id), tonumber(at))
      end
    end
  end
  return #cursors
end

-- Go on where earlier calls had to stop.
function runs.resume_todo(run)
  local done = runs.go_on_from(run, redis.call('LRANGE', run.base .. ':todo', 0, CURSORS_READ - 1))
  if run.drop_todo then return end -- the run stops with it
  run.todo, run.trimmed = run.todo - done, done
end

