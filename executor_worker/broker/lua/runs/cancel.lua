-- Cancel a run: from now on nothing of it starts; what nobody holds is taken back at once.
-- KEYS: the run's head. ARGV: none.
-- Reply: {'cancelled', ms, running, queued, runs that have ended (module.lua)}, {'unknown'}, {'ended', status}, {'stopping', status}.

local run = runs.open_run(KEYS[1])
if not run then return {'unknown'} end
if run.stopping ~= '' then return {'stopping', run.status} end
if runs.OVER[run.status] then return {'ended', run.status} end
runs.begin_stop(run, 'cancelled')
runs.settle_down(run)
runs.write(run)
return {'cancelled', runs.clock(), run.stopped.running, run.stopped.queued, runs.ends}
