-- Commit a job's end and acknowledge it, in one step and only for its holder; then take the next.
--
-- KEYS: work stream, settled markers, group resets, record, updates' stream, dead letters' stream, the run's journal,
--       the mark that it was cancelled.
-- ARGV: group, consumer, entry, count, record, ttl_ms, delete ('1'), journal's last record or '' (none was kept),
--       number of the update's words, those, number of dead letter's words, those, take ('1'), then what take.lua takes.
-- Reply: {'settled' | 'already', nil, next as take.lua has it, or {'unsure'} where that went wrong}, {'fenced'}.
-- With an interpreter line this script is refused before its first command where memory is full.

local stream, markers = KEYS[1], KEYS[2]
local group, consumer, entry, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local update_words = tonumber(ARGV[9])
local letter = 10 + update_words
local letter_words = tonumber(ARGV[letter])
local taking = letter + letter_words + 1

local where = standing(stream, group, consumer, entry, count, markers, KEYS[3])
if type(where) == 'table' then return where end
if where == 'already' then return {'already', false, next_entry(taking)} end
if where == 'fenced' then return {'fenced'} end
-- Its row is lost: the worker that was quicker is told by the record, or by the key of those that settle so.
if where == 'gone' then
  local record = record_at(KEYS[4])
  if record and entry_of(record) == entry and is_finished(record) then return {'fenced'} end
end

must_hold('hash', markers, stream .. UNCOUNTED)
must_hold('stream', KEYS[5])
if letter_words > 0 then must_hold('stream', KEYS[6]) end
write_record(KEYS[4], entry, ARGV[5], ARGV[6])
redis.call('XADD', KEYS[5], '*', unpack(ARGV, 10, 9 + update_words))
if letter_words > 0 then redis.call('XADD', KEYS[6], '*', unpack(ARGV, letter + 1, letter + letter_words)) end
if ARGV[8] ~= '' then redis.pcall('RPUSHX', KEYS[7], ARGV[8]) end
redis.call('DEL', KEYS[8])
redis.call('HSET', markers, consumer, stream .. ' ' .. entry .. ' ' .. count)
if count > 1 or where == 'gone' or letter_words > 0 then
  redis.call('SET', settled_key(stream, entry), consumer .. ' ' .. count, 'PX', ARGV[6])
end
redis.pcall('XACK', stream, group, entry)
if ARGV[7] == '1' then redis.call('XDEL', stream, entry) end
redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' ours')
return {'settled', false, next_entry(taking)}
