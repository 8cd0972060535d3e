-- Hand an entry to the worker it was delivered to, opened by its kind. After kinds.lua.

-- {stream, entry, count, uncounted, refused, fields, kind, what the kind brings along or false, whether its start was told};
-- false if its kind says that it is not to be run now. *how* it came: see lib/kinds.lua.
local function handed(stream, entry, fields, count, group, consumer, how)
  local one = {
    stream = stream, entry = entry, fields = fields, count = count, group = group, consumer = consumer, how = how,
  }
  local kind = kind_of(one)
  local needs = limits_kept and how ~= 'again' and kind.limits and kind.limits(one)
  if needs and not gates.limit.admitted(one, needs) then return false end
  local brought = kind.open(one)
  if brought == false then
    if needs then gates.limit.free_places(group, stream, entry) end
    return false
  end
  local uncounted, refused = 0, 0
  if count > 1 then
    uncounted = tonumber(redis.call('HGET', stream .. UNCOUNTED, entry) or 0) or 0
    refused = tonumber(redis.call('HGET', stream .. UNCOUNTED, entry .. ' refused') or 0) or 0
  end
  local told = tell_start(one, uncounted) and 1 or 0
  return {stream, entry, count, uncounted, refused, fields, kind.name, brought ~= nil and brought, told}
end
