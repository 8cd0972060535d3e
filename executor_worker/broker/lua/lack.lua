-- A pool lacks tools that an item names: whether another one that lives, and serves the item's stream, has all of them.
-- KEYS: deliveries that don't count of the item's stream, the set of pools, what the item may wait for.
-- ARGV: entry, stream, our pool, longest wait (ms), names of the tools.
-- Reply: until when it may wait (ms); 0: no other has them, or it has waited for so long.

local now, limit = now_ms(), tonumber(ARGV[4])
local function offers(pool)
  local found = redis.call('HMGET', OFFERS_PREFIX .. pool, 'stream ' .. ARGV[2])
  if not found[1] then return false end
  for i = 5, #ARGV do
    if not redis.call('HGET', OFFERS_PREFIX .. pool, 'tool ' .. ARGV[i]) then return false end
  end
  return true
end

local there = false
for _, pool in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('EXISTS', OFFERS_PREFIX .. pool) == 0 then
    redis.call('SREM', KEYS[2], pool)
  elseif pool ~= ARGV[3] and offers(pool) then
    there = true
  end
end
if not there then return 0 end
local field = ARGV[1] .. ' since'
local since = tonumber(redis.call('HGET', KEYS[1], field) or now)
if now >= since + limit then return 0 end
redis.call('HSET', KEYS[1], field, whole(since))
for i = 5, #ARGV do redis.call('HSET', KEYS[3], ARGV[i], 1) end
redis.call('PEXPIRE', KEYS[3], limit)
return since + limit
