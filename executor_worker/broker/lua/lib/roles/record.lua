-- Records of jobs: JSON, a string a job id. An earlier entry never takes the place of a later one's.

local history_kept = false -- there is a database: a record that is not written there yet does not expire; see unwritten.lua

-- The entry a record is of. Ours stands before whatever a job brings; inside of texts quotes are escaped.
local function entry_of(record)
  return string.match(record, '"entry_id":"(%d+%-%d+)"')
end

local function is_finished(record)
  local status = string.match(record, '"entry_id":"%d+%-%d+","status":"(%a+)"')
  return status == 'completed' or status == 'failed'
end

-- A record's text; nil if there is none, or something else has its key.
local function record_at(key)
  local there = redis.pcall('GET', key)
  return type(there) == 'string' and there or nil
end

local function write_record(key, entry, record, ttl_ms)
  local there = record_at(key)
  local other = there and entry_of(there)
  if other and other ~= entry and not_after(entry, other) then return end
  if not history_kept then
    redis.pcall('SET', key, record, 'PX', ttl_ms)
    return
  end
  local time = redis.call('TIME')
  redis.pcall('SET', key, record)
  redis.pcall('ZADD', UNWRITTEN_JOBS, 'NX', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), key)
end

-- A time in ms as RFC 3339, UTC.
local function rfc3339(ms)
  return date_time(math.floor(ms / 1000)) .. string.format('.%03dZ', ms % 1000)
end
