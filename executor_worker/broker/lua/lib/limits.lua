-- Limits that the pool which calls keeps to: how many items may be run at once, on all hosts. See gates/limits.lua.

local limit_max = {} -- name → most at once; the pool that keeps to them says so
local limits_kept = false
local node_limits_kept = false -- there are some that nodes name in their configs
local place_lease_ms = nil
local look_again = nil -- keepers do, once a second (limits_watched.lua): a worker that takes goes by what is there
local called_up = false -- an item is being taken out of its line: those before it were passed over
-- function(stream, group, entry): names of limits of each earlier entry that a worker has just been given, and has not
-- opened yet; the worker that takes knows (unopened.lua).
local unopened_before = nil
