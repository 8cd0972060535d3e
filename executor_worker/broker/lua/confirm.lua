-- Make sure of what a blocking read has brought: it may have lain on the line for longer than the lease. Where it is
-- still ours its idle time restarts, and the state is read in the same moment, before anybody else can have settled it;
-- a run's node is started.
-- KEYS: stream, settled markers, group resets, state (or the markers' key where there is none).
-- ARGV: group, consumer, entry, count, data of a run's item or '', '1': it was started before, it is only to be answered.
-- Reply: {where it is, see `standing`, the state or nil, what `started` has or nil}; {'late'}: it must not be run.

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where == 'ours' then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID') end
local run = false
if ARGV[5] ~= '' and where == 'ours' then
  run = started(KEYS[1], ARGV[3], tonumber(ARGV[4]), {'data', ARGV[5]}, ARGV[2], ARGV[6] == '1')
  if run and run[1] == 'late' then
    drop(KEYS[1], ARGV[1], ARGV[3])
    return {'late', false, false}
  end
end
local state = KEYS[4] ~= KEYS[2] and redis.pcall('GET', KEYS[4])
if type(state) == 'table' then state = '' end
return {where, state, run}
