-- The state document of a run with many nodes, page by page. Used after ending.lua, where a step may be done.

-- The document of a run with many nodes is written in pages beside it before it ends, from byte *at* of its ids on; what
-- becomes too large for that is left to a worker.
function runs.document_page(run, at)
  run.ops = run.ops + runs.most_ops
  runs.read_for_document(run)
  local page, before = {first = at == 1}, 0
  if at > 1 then before = redis.call('STRLEN', run.base .. ':document') + redis.call('STRLEN', run.base .. ':sinks') end
  local parts, rest = at == 1 and runs.document_begin(run) or at > 1 and before > 0 and {','}, nil
  if parts then page.sinks, rest = runs.add_states(run, parts, at, DOCUMENT_MOST - before) end
  if not page.sinks then
    run.documented = 'later'
    return
  end
  page.more = at > 1
  page.states = table.concat(parts)
  run.page, run.documented = page, 'paged'
  if rest then
    run.documented = nil
    run.cursors[#run.cursors + 1] = 'document\t\t' .. rest
  end
end

function runs.write_page(run)
  local page, base = run.page, run.base
  if page.first then redis.call('UNLINK', base .. ':document', base .. ':sinks') end
  redis.call('APPEND', base .. ':document', page.states)
  if page.sinks == '' then return end
  local before = page.more and redis.call('EXISTS', base .. ':sinks') == 1 and ',' or ''
  redis.call('APPEND', base .. ':sinks', before .. page.sinks)
end
