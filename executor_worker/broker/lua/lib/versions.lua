-- Layouts in which runs are stored: what is kept in a newer one than this program reads waits for a worker that does.

local LAYOUT = 1 -- of what is stored; a script refuses a greater one

local function version_key(layout) return VERSION_PREFIX .. layout end

gates.version = {
  room = function(key) return tonumber(string.match(key, '%d+$')) <= LAYOUT and math.huge or 0 end,
  is_full = function(key) return tonumber(string.match(key, '%d+$')) > LAYOUT end,
}
