-- Layouts in which runs are stored: what is kept in a newer one than this program reads waits for a worker that does.

local newest_layout = 1 -- that this program reads; no constant, so that a test can be a newer one

local function version_key(layout) return VERSION_PREFIX .. layout end

local function is_newer(key) return tonumber(string.match(key, '%d+$') or math.huge) > newest_layout end

gates.version = {room = function(key) return is_newer(key) and 0 or math.huge end, is_full = is_newer}
