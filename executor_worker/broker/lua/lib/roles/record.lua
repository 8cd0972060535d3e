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
  local seconds = math.floor(ms / 1000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  -- Years begin in March here, so that the leap day is the last.
  local since = days + 719468
  local era = math.floor(since / 146097)
  local day = since - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local of_month = of_year - math.floor((153 * month + 2) / 5) + 1
  year = year + era * 400 + (month >= 10 and 1 or 0)
  month = month < 10 and month + 3 or month - 9
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, of_month, math.floor(rest / 3600),
    math.floor(rest % 3600 / 60), rest % 60, ms % 1000)
end
