-- Groups: streams that are not read by our own group have theirs in here; the pool that serves them says so.
local groups = {}

local function group_of(stream, ours)
  return groups[stream] or ours
end
