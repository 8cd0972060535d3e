-- Begin a run that has failed or was cancelled again, in a new epoch: what was prepared of it takes the place of what was.
--
-- KEYS: the run's head.
-- ARGV: the epoch that is over, suffix of the prepared keys, nodes not ended, completed, failed ones; most active (0: any).
-- Reply: {'retried', epoch}, {'unknown'}, {'stopping', status}, {'running', status}, {'completed'}, {'stale'},
--        {'unprepared'}.

local run = runs.open_run(KEYS[1])
if not run then return {'unknown'} end
if run.stopping ~= '' then return {'stopping', run.status} end
if run.status == 'completed' then return {'completed'} end
local again = redis.call('HGET', KEYS[1], 'retried_by')
if again == ARGV[2] then return {'retried', run.epoch} end -- the reply to it was lost
if run.epoch ~= tonumber(ARGV[1]) then return {'stale'} end
if not runs.OVER[run.status] then return {'running', run.status} end
local nodes, todo = KEYS[1] .. ':nodes:' .. ARGV[2], KEYS[1] .. ':todo:' .. ARGV[2]
if redis.call('EXISTS', todo) == 0 then return {'unprepared'} end

runs.must_be_writable(run, true)
redis.call('UNLINK', KEYS[1] .. ':nodes', KEYS[1] .. ':todo', KEYS[1] .. ':joins', KEYS[1] .. ':ready', KEYS[1] .. ':open')
if redis.call('EXISTS', nodes) == 1 then redis.call('RENAME', nodes, KEYS[1] .. ':nodes') end
redis.call('RENAME', todo, KEYS[1] .. ':todo')
for _, part in ipairs({'', ':plan', ':edges', ':nodes', ':outputs', ':log', ':journals', ':todo'}) do
  redis.call('PERSIST', KEYS[1] .. part)
end
for _, journal in ipairs(redis.call('LRANGE', KEYS[1] .. ':journals', 0, 999)) do redis.call('PERSIST', journal) end
redis.call('PERSIST', STATE_PREFIX .. run.id)
redis.call('HDEL', KEYS[1], 'ended', 'result', 'error')
redis.call('HSET', KEYS[1], 'retried_by', ARGV[2], 'retried_at', runs.int(runs.clock()))
redis.call('ZREM', run.shard .. 'expiries', run.id)
redis.call('ZADD', run.shard .. 'looks', runs.int(runs.clock() + LOOK_MS), run.id)

run.epoch, run.status, run.error, run.held = run.epoch + 1, 'running', '', ''
run.left, run.completed, run.failed = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
run.skipped, run.cancelled, run.slots, run.running, run.backlog = 0, 0, 0, 0, 0
runs.log_run(run, 'graph.retried', '{"epoch":' .. run.epoch .. '}')
runs.list_as(run, 'running')
local timeout = tonumber(redis.call('HGET', KEYS[1], 'timeout')) or 0
if timeout > 0 then run.timers[1] = {'', 'timeout', runs.clock() + timeout, 0} end
-- The first step does the rest.
run.todo = redis.call('LLEN', KEYS[1] .. ':todo')
run.waiting_step = true
runs.write(run)
return {'retried', run.epoch}
