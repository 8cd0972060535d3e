-- Modules: tables of functions that are made when one is asked for that is not there yet: to make a function takes longer
-- than most of them do, and many are seldom needed. A module's files come after the one that opens it; each is made a
-- function in the module's own list that makes what is in the file (`Made` in connection/script.py).

local lazily = {__index = function(module, name)
  local make = table.remove(module, 1)
  if make then
    make()
    return module[name]
  end
end}
