-- The library of runs is set up once it is needed: scripts that also serve other items do not pay for it.
local function runs_library()
