-- The library of runs: a table of functions. The files that follow are each made a function that makes those in it, and
-- is called when one is asked for that is not there yet: to make a function takes longer than most of them do, and some
-- are seldom needed. `ends`: what this script's call has ended, each '<status> <ms of its epoch> <id>', for who called to count.
local makers = {}
-- *most_ops*: edges, fields, entries and events that a call may touch, a millisecond or two; what remains is left as a
-- cursor.
local runs = setmetatable({deferred = false, ends = {}, most_ops = 400}, {__index = function(module, name)
  local make = table.remove(makers, 1)
  if make then
    make()
    return module[name]
  end
end})
