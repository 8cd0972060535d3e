-- Layouts of runs that are newer than what this program reads; see versions.lua.

local function is_newer(key) return tonumber(string.match(key, '%d+$') or math.huge) > newest_layout end

gates.version = {
  room = function(key) return is_newer(key) and 0 or math.huge end,
  is_full = is_newer,
  key_of = function(layout) return VERSION_PREFIX .. layout end,
}
