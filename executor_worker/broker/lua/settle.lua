-- Commit one item's result and acknowledge it, in one step and only for its holder; then take the next.
--
-- KEYS: work stream, settled markers, group resets, state (or the markers' key where there is none),
--       dead letters' stream, stream of completed events, the run's journal, the
--       graph's failed items (or the markers' key), then one stream for each event.
-- ARGV: group, consumer, entry, count, force ('1'), state's expected SHA-1 ('' = must not be there, '-' = leave it alone),
--       document, ttl_ms, mirror ('' | 'always' | 'auto'), delete ('1'), journal's last record or '' (none was kept),
--       node whose item is kept since it failed or '', number of events, events,
--       number of dead letter's words, those words, take ('1'), then what take.lua takes.
-- Reply: {'settled' | 'already', nil, next as take.lua has it, or {'unsure'} where that went wrong},
--        {'conflict' | 'trimmed', the state now or nil}, {'fenced'}.
-- With an interpreter line this script is refused before its first command where memory is full.

local stream, markers, resets, state_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, entry, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local expected = ARGV[6]
local events = tonumber(ARGV[13])
local letter = 14 + events
local letter_words = tonumber(ARGV[letter])
local taking = letter + letter_words + 1

local function mirrored()
  if ARGV[9] ~= 'auto' then return ARGV[9] == 'always' end
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[6])
  if groups.err then return false end
  for _, about in ipairs(groups) do
    if about[2] == FOREIGN_GROUP then return true end
  end
  return false
end

-- A kept entry must not be read again when its group is lost; what was read with a reply that got lost was not noted.
local function keep_as_read()
  local last = redis.call('HGET', LAST_READ, stream)
  if not last or not not_after(entry, last) then redis.call('HSET', LAST_READ, stream, entry) end
end

local where = standing(stream, group, consumer, entry, count, markers, resets)
if type(where) == 'table' then return where end
if where == 'already' then return {'already', false, next_entry(taking)} end
if where == 'fenced' then return {'fenced'} end
if where == 'gone' and ARGV[5] ~= '1' then return {'trimmed', document(state_key)} end

local copied = events > 0 and ARGV[9] ~= '' and mirrored()
must_hold('hash', markers)
for i = 1, events do must_hold('stream', KEYS[8 + i]) end
if copied then must_hold('stream', KEYS[6]) end
if letter_words > 0 then must_hold('stream', KEYS[5]) end
if ARGV[12] ~= '' then must_hold('hash', KEYS[8]) end
if ARGV[10] ~= '1' then must_hold('hash', LAST_READ) end
if count > 1 then must_hold('hash', stream .. UNCOUNTED) end
if expected ~= '-' then
  local current = document(state_key)
  local same = current and redis.sha1hex(current) or ''
  if same ~= expected then return {'conflict', current} end
  redis.call('SET', state_key, ARGV[7], 'PX', ARGV[8])
end
for i = 1, events do redis.call('XADD', KEYS[8 + i], '*', 'data', ARGV[13 + i]) end
if copied then redis.call('XADD', KEYS[6], '*', 'data', ARGV[14]) end
if letter_words > 0 then redis.call('XADD', KEYS[5], '*', unpack(ARGV, letter + 1, letter + letter_words)) end
if ARGV[11] ~= '' then redis.pcall('RPUSHX', KEYS[7], ARGV[11]) end
redis.call('HSET', markers, consumer, stream .. ' ' .. entry .. ' ' .. count)
-- Others may come late with a delivery of it, and the state may not say that they do: it was left alone or forced upon,
-- or forgets when a dead letter is put back.
if count > 1 or expected == '-' or letter_words > 0 or ARGV[5] == '1' then
  redis.call('SET', settled_key(stream, entry), consumer .. ' ' .. count, 'PX', ARGV[8])
end
if ARGV[12] ~= '' then
  local item = redis.call('XRANGE', stream, entry, entry)[1]
  for i = 1, item and #item[2] or 0, 2 do
    if item[2][i] == 'data' then redis.call('HSET', KEYS[8], ARGV[12], stream .. '\n' .. item[2][i + 1]) end
  end
  redis.call('PEXPIRE', KEYS[8], ARGV[8])
end
redis.pcall('XACK', stream, group, entry)
if ARGV[10] == '1' then redis.call('XDEL', stream, entry) else keep_as_read() end
if count > 1 then redis.call('HDEL', stream .. UNCOUNTED, entry, entry .. ' refused', entry .. ' repeats', entry .. ' since') end
return {'settled', false, next_entry(taking)}
