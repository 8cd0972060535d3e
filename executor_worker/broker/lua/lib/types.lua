-- Refuse a key that another program has put something else under before the first write: Redis undoes nothing of a script
-- that fails later. Used by scripts that write several keys.

local held = {} -- key → kind, of those that were asked for or have answered a command of their kind

-- Each *key* is not there or is a *kind*, as TYPE names it.
local function must_hold(kind, ...)
  for i = 1, select('#', ...) do
    local key = select(i, ...)
    if held[key] ~= kind then
      local there = redis.call('TYPE', key).ok
      if there ~= kind and there ~= 'none' then
        error({err = 'WRONGTYPE the key ' .. key .. ' holds a ' .. there .. ', where a ' .. kind .. ' is expected'})
      end
      held[key] = kind
    end
  end
end
