-- Give up an item of a run whose keys another program has changed so that it can't be read or written: the run ends as
-- failed, the item is acknowledged, the next is taken.
--
-- KEYS: work stream, settled markers, group resets, the run's head.
-- ARGV: group, consumer, entry, count, sure ('1': that it can't go on; else only where a key of the run holds something
--       else than it should), the run's error as JSON, node ('': a step), data and mirror of its event, then what
--       `next_entry` in lib/settling.lua takes.
-- Reply: {'settled' | 'already' | 'late', nil, next, runs that have ended (module.lua)}, {'fenced'}, {'judge'}: nothing is
--        wrong with its keys, nothing was written.

local stream, markers = KEYS[1], KEYS[2]
local group, consumer, entry, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local TAKING = 10

local where = standing(stream, group, consumer, entry, count, markers, KEYS[3])
if type(where) == 'table' then return where end
if where == 'fenced' then return {'fenced'} end
if where == 'already' then return {'already', false, next_entry(TAKING)} end
must_hold('hash', markers, stream .. UNCOUNTED)
local ended = runs.give_up(KEYS[4], ARGV[5] == '1', ARGV[6], ARGV[7] ~= '' and {ARGV[7], ARGV[8], ARGV[9]} or nil)
if ended == 'sound' then return {'judge'} end
redis.call('HSET', markers, consumer, stream .. ' ' .. entry .. ' ' .. count)
drop(stream, group, entry, count)
return {ended == 'late' and 'late' or 'settled', false, next_entry(TAKING), runs.ends[1] and runs.ends or false}
