-- What is given back counts as idle for so long: stale at once for every worker.
local RELEASED_MS = 31536000000 -- one year
local TAKEN_PLACE_MS = 10000 -- to get from taking an item to its call
local GIVEN_BACK_MS = 15768000000 -- idle for more than that: given back, not slow
