  return {
    started = started, base_of = base_of, open_run = open_run, node_of = node_of, set = set, log = log, log_node = log_node, clock = clock,
    finish = finish, follow = follow, enqueue = enqueue, settle_down = settle_down, undecided = undecided, write = write,
  }
end

local loaded_runs
local function runs()
  loaded_runs = loaded_runs or runs_library()
  return loaded_runs
end
