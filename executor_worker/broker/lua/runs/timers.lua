-- Do what is due of a shard's timers, each once: whoever takes one from the set does it.
-- KEYS: the timers. ARGV: most to do in this call.
-- Reply: {ms until the next, -1: there is none; how many were done}.

local shard = string.match(KEYS[1], '^(.*:)timers$')

local function fire(member)
  local parts = split(member, '\t')
  local id, node, kind, epoch, attempt = parts[1], parts[2], parts[3], tonumber(parts[4]), tonumber(parts[5])
  local run = open_run(shard .. 'run:' .. id)
  if not run or run.epoch ~= epoch or (OVER[run.status] and run.stopping == '') then return end
  if kind == 'retry' then
    local one = node_of(run, node)
    if run.stopping ~= '' or not one or one.st ~= 'waiting' or one.at ~= attempt then return end
    run.slots = run.slots - 1
    run.closed[#run.closed + 1] = node
    if run.held == '1' then
      one.st = 'ready'
      set(run, node, one)
      run.ready[#run.ready + 1] = node
    else
      enqueue(run, node)
    end
  elseif kind == 'timeout' then
    if run.stopping ~= '' then return end
    run.error = '{"error":"the run did not end within its time","error_code":"graph_timeout"}'
    begin_stop(run, 'failed')
  elseif kind == 'stop' then
    end_held(run)
  end
  settle_down(run)
  write(run)
end

local done = 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(clock()), 'LIMIT', 0, tonumber(ARGV[1]))) do
  redis.call('ZREM', KEYS[1], member)
  fire(member)
  done = done + 1
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[1] then return {-1, done} end
return {math.max(tonumber(first[2]) - clock(), 0), done}
