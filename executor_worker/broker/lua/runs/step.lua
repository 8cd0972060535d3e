-- Do the next part of what a run has left to do. A worker's step item is acknowledged when nothing is left of it.
--
-- KEYS: the run's head, stream of steps, settled markers.
-- ARGV: group, consumer, entry ('' : nobody holds one), count, number of decisions, those, the run's output or ''.
-- Reply: {'more'}, {'done', runs that have ended (module.lua)}, {'judge', …}.

local group, consumer, entry, count = word(), word(), word(), word()
local run = runs.open_run(KEYS[1])
local open = run and redis.call('HGET', run.open_key, '')

local function done()
  if entry ~= '' then
    redis.call('HSET', KEYS[3], consumer, KEYS[2] .. ' ' .. entry .. ' ' .. count)
    drop(KEYS[2], group, entry, 2)
    if open == KEYS[2] .. ' ' .. entry then redis.call('HDEL', run.open_key, '') end
  end
  return {'done', runs.ends}
end

if entry ~= '' then must_hold('hash', KEYS[3], KEYS[2] .. UNCOUNTED) end
if not run or run.todo == 0 then return done() end
local output = read_decisions(run)
run.step_open = open and true or false
runs.resume_todo(run)
runs.settle_down(run)
local missing = runs.undecided(run, output)
if missing then return {'judge', missing} end
runs.write(run, output)
if run.todo > 0 then return {'more'} end
return done()
