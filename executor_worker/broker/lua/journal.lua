-- Write records at the end of a run's journal, only for the item's holder, and tell of it in the same step.
-- KEYS: work stream, settled markers, group resets, journal, progress stream, the run's head (or the markers' key).
-- ARGV: group, consumer, entry, count, records there are (-1: whatever is there goes first), ttl_ms,
--       number of records, node of the run or '', number of events, records, events, then type and data of each for the
--       run's log.
-- Reply: 'kept', also where a lost reply makes it the second time; 'fenced'; 'other' where other records are there.
-- With an interpreter line this script is refused before its first command where memory is full.

local JOURNALS_MOST = 1000 -- that are given a run's time to live with its end (lib/runs/ending.lua)

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where ~= 'ours' and where ~= 'gone' then return 'fenced' end

local journal, before, count = KEYS[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local of_run, node, events = KEYS[6] ~= KEYS[2], ARGV[8], tonumber(ARGV[9])
local first = 9 -- the words before the records
if of_run then
  -- Its row may be gone since the run was stopped and begun again: then another item is the node's, or none.
  local current = redis.call('HGET', KEYS[6] .. ':open', node) == KEYS[1] .. ' ' .. ARGV[3]
  if not current or redis.call('HGET', KEYS[6], 'ended') then return 'fenced' end
end

if events > 0 then must_hold('stream', KEYS[5]) end
if of_run then must_hold('list', KEYS[6] .. ':journals', KEYS[6] .. ':log') end

local function written()
  local there = redis.call('LRANGE', journal, before, before + count - 1)
  for i = 1, count do
    if there[i] ~= ARGV[first + i] then return false end
  end
  return true
end

local there = redis.pcall('LLEN', journal)
local expires = of_run and redis.call('PTTL', journal) > 0
if before < 0 then
  redis.call('DEL', journal)
elseif type(there) == 'table' then
  return 'other' -- another program's key, and no list
elseif there ~= before then
  return written() and 'kept' or 'other'
end
for i = 1, count do redis.call('RPUSH', journal, ARGV[first + i]) end
for i = first + count + 1, first + count + events do redis.call('XADD', KEYS[5], '*', 'data', ARGV[i]) end
if not of_run then
  redis.call('PEXPIRE', journal, ARGV[6])
  return 'kept'
end
-- What belongs to a run lives as long as it does; beyond the journals that its end can name at once, as long as an item's.
if there == 0 then expires = redis.call('RPUSH', KEYS[6] .. ':journals', journal) > JOURNALS_MOST end
if expires then redis.call('PEXPIRE', journal, ARGV[6]) end
local time = redis.call('TIME')
local ms = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
for i = first + count + events + 1, #ARGV, 2 do
  local seq = redis.call('RPUSH', KEYS[6] .. ':log', ARGV[i] .. '\t' .. ms .. '\t' .. node .. '\t' .. ARGV[i + 1])
  if i + 1 == #ARGV then redis.pcall('PUBLISH', (string.gsub(KEYS[6], ':run:', ':live:')), seq) end
end
return 'kept'
