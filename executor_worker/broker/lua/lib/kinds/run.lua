-- Nodes of runs, and steps of runs that have more to do than one script may. A node is started in the step that takes
-- it, or not at all: what is late is acknowledged.

local function reads_run(one)
  one.item = item_of(one.fields)
  return one.item
end

local function bring_run(one)
  -- Its row is gone: the run is repaired by who looks after it, and queues it again.
  if one.how == 'lost' or one.how == 'late' then return false end
  local fine, run = pcall(runs.started, one)
  if not fine then
    local damage = runs.damage(run, one.item[1])
    if not damage then error(run, 0) end
    return {'damaged', one.item[1], one.item[5], damage}
  end
  if run[1] == 'version' and not one.how then
    waits.set_aside(one.stream, one.group, one.consumer, one.entry, gates.version.key_of(run[2]), 0, run[3])
    return false
  end
  if run[1] == 'node' then
    local graph = '"' .. run[2] .. '"'
    one.names, one.attempt = {graph, graph, one.item[5]}, run[5]
  end
  if run[1] ~= 'late' then return run end
  drop(one.stream, one.group, one.entry, one.count)
  return false
end

kinds[#kinds + 1] = {name = 'run', reads = reads_run, open = bring_run}

if node_limits_kept then
  local function limits(one)
    if one.item.step or one.item[2] > newest_layout then return nil end
    local decoded, base = gates.limit.decoded, runs.base_of(one.item[1])
    local plan = redis.call('HGET', base .. ':plan', decoded('[' .. one.item[5] .. ']')[1])
    plan = plan and string.find(plan, '"limit"', 1, true) and decoded(plan)
    return plan and gates.limit.needs_of(plan.config, base) or nil
  end
  -- What can't be read is told by `open`.
  kinds[#kinds].limits = function(one)
    local fine, needs = pcall(limits, one)
    return fine and needs or nil
  end
end
