-- Write records at the end of a run's journal, only for the item's holder, and tell of it in the same step.
-- KEYS: work stream, settled markers, group resets, journal, progress stream.
-- ARGV: group, consumer, entry, count, records there are (-1: whatever is there goes first), ttl_ms,
--       number of records, those, events.
-- Reply: 'kept', also where a lost reply makes it the second time; 'fenced'; 'other' where other records are there.
-- With an interpreter line this script is refused before its first command where memory is full.

local where = standing(KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), KEYS[2], KEYS[3])
if type(where) == 'table' then return where end
if where ~= 'ours' and where ~= 'gone' then return 'fenced' end

local journal, before, count = KEYS[4], tonumber(ARGV[5]), tonumber(ARGV[7])

local function written()
  local there = redis.call('LRANGE', journal, before, before + count - 1)
  for i = 1, count do
    if there[i] ~= ARGV[7 + i] then return false end
  end
  return true
end

local there = redis.pcall('LLEN', journal)
if before < 0 then
  redis.call('DEL', journal)
elseif type(there) == 'table' then
  return 'other' -- somebody else's key, and no list
elseif there ~= before then
  return written() and 'kept' or 'other'
end
for i = 1, count do redis.call('RPUSH', journal, ARGV[7 + i]) end
redis.call('PEXPIRE', journal, ARGV[6])
for i = 8 + count, #ARGV do redis.call('XADD', KEYS[5], '*', 'data', ARGV[i]) end
return 'kept'
