-- The library of runs. `ends`: what this script's call has ended, each '<status> <ms of its epoch> <id>', for who called to
-- count. *most_ops*: edges, fields, entries and events that a call may touch, a millisecond or two; what remains is left
-- as a cursor. After module.lua.
local runs = setmetatable({}, lazily)
runs.deferred, runs.ends, runs.most_ops = false, {}, 400
