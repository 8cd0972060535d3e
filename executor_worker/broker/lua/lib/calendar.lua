-- Dates from seconds since 1970, UTC.

-- A second as RFC 3339, without its fraction and zone.
local function date_time(second)
  local days, rest = math.floor(second / 86400), second % 86400
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
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d', year, month, of_month, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60)
end
