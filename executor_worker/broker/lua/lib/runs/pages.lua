-- The state document of a run with many nodes, page by page. Used after ending.lua, where a step may be done.

-- The document of a run with many nodes is written in pages beside it before it ends, from byte *at* of its ids on; what
-- becomes too large for that is left to a worker.
function runs.document_page(run, at)
  run.ops = run.ops + runs.most_ops
  runs.read_for_document(run)
  local page, before = {first = at == 1, at = 0, sinks_at = 0}, 0
  if at > 1 then
    page.at, page.sinks_at = redis.call('STRLEN', run.base .. ':document'), redis.call('STRLEN', run.base .. ':sinks')
    before = page.at + page.sinks_at
  end
  local parts, rest = at == 1 and runs.document_begin(run) or at > 1 and before > 0 and {','}, nil
  if parts then page.sinks, rest = runs.add_states(run, parts, at, DOCUMENT_MOST - before) end
  if not page.sinks then
    run.documented = 'later'
    return
  end
  page.states = parts
  run.page, run.documented = page, 'paged'
  if rest then
    run.documented = nil
    run.cursors[#run.cursors + 1] = 'document\t\t' .. rest
  end
end

function runs.write_page(run)
  local page, base = run.page, run.base
  if page.first then redis.call('UNLINK', base .. ':document', base .. ':sinks') end
  runs.write_parts(base .. ':document', page.states, page.at)
  if page.sinks_at > 0 and #page.sinks > 0 then table.insert(page.sinks, 1, ',') end
  runs.write_parts(base .. ':sinks', page.sinks, page.sinks_at)
end
