-- Forget an ended run.
-- KEYS: the run's head. ARGV: none. Reply: {'deleted'}, {'unknown'}, {'stopping', status}, {'running', status}.

local run = runs.open_run(KEYS[1])
if not run then return {'unknown'} end
if run.stopping ~= '' then return {'stopping', run.status} end
if not runs.OVER[run.status] then return {'running', run.status} end
local journals = redis.call('LRANGE', run.base .. ':journals', 0, -1)
for from = 1, #journals, 1000 do redis.call('UNLINK', unpack(journals, from, math.min(from + 999, #journals))) end
for _, part in ipairs({'', ':plan', ':edges', ':nodes', ':outputs', ':log', ':journals', ':joins', ':open', ':ready', ':todo'}) do
  redis.call('UNLINK', run.base .. part)
end
redis.call('UNLINK', STATE_PREFIX .. run.id)
for _, list in ipairs({'runs', 'runs:running', 'runs:completed', 'runs:failed', 'runs:cancelled', 'looks', 'expiries'}) do
  redis.call('ZREM', run.shard .. list, run.id)
end
return {'deleted'}
