-- Jobs of roles: flat fields in streams of another system. In the step that takes one its record says that it runs.
--
-- dago:job:<jobId>                  string: the record, see envelopes/role_job.py
-- dago:executor:cancelled:<jobId>   string: it is not wanted any more
-- <stream>:forgiven                 hash: "<entry> ours" where a consumer of ours was given the entry

local roles = {} -- stream → {name}; the pool that serves them says so
local record_ttl_ms = 86400000
local LONGEST_ID = 200 -- bytes

local function fields_of_job(words)
  local fields = {}
  for i = 1, #words, 2 do fields[words[i]] = words[i + 1] end
  return fields
end

local function keyed(id)
  return #id > LONGEST_ID and redis.sha1hex(id) or id
end

-- As JSON; bytes that are no UTF-8 as escapes.
local function json(text)
  if string.find(text, '[\128-\255]') then
    local odd = string.gsub(text, '[\194-\223][\128-\191]', '')
    odd = string.gsub(string.gsub(odd, '[\224-\239][\128-\191][\128-\191]', ''),
      '[\240-\244][\128-\191][\128-\191][\128-\191]', '')
    if string.find(odd, '[\128-\255]') then
      text = string.gsub(text, '[\128-\255]', function(byte) return string.format('\\x%02x', string.byte(byte)) end)
    end
  end
  return cjson.encode(text)
end

local function running(role, one, id, fields, attempt)
  local created = tonumber((string.match(one.entry, '^(%d+)')))
  local all = {}
  for i = 1, #one.fields, 2 do
    if fields[one.fields[i]] == one.fields[i + 1] then
      all[#all + 1] = json(one.fields[i]) .. ':' .. json(one.fields[i + 1])
    end
  end
  return table.concat({
    '{"jobId":', json(id), ',"role":', json(role.name), ',"entry_id":"', one.entry, '","status":"running","output":null',
    ',"error":null,"error_code":null,"usage":null,"task":', json(fields.task or ''),
    ',"workflowId":', json(fields.workflowId or 'unknown'), ',"userId":', json(fields.userId or ''),
    ',"projectId":', json(fields.projectId or ''), ',"worker_id":', json(one.consumer),
    ',"attempt":', string.format('%d', attempt), ',"created_at":"', rfc3339(created),
    '","started_at":"', rfc3339(now_ms()), '","completed_at":null,"fields":{', table.concat(all, ','), '}}',
  })
end

-- What was delivered before to others than us is not held against a job: an executor of the other system left it.
local function adopt(one)
  local uncounted = one.stream .. UNCOUNTED
  if not redis.call('HGET', uncounted, one.entry .. ' ours') then
    redis.call('HSET', uncounted, one.entry .. ' ours', 1)
    if one.count > 1 then redis.call('HSET', uncounted, one.entry, one.count - 1) end
  end
  return one.count - tonumber(redis.call('HGET', uncounted, one.entry) or 0)
end

-- {fields, id, whether it was cancelled}, found out once.
local function job_of(one)
  if not one.job then
    local fields = fields_of_job(one.fields)
    local id = fields.jobId
    if not id or id == '' then id = one.stream .. '/' .. one.entry end
    local watched = CANCELLED_JOB_PREFIX .. keyed(id)
    one.job = {fields = fields, id = id, watched = watched, cancelled = redis.call('EXISTS', watched) == 1}
  end
  return one.job
end

-- A cancelled job is answered at once: it needs no place.
local function limits_of_job(one)
  local role = roles[one.stream]
  if not role.limits or job_of(one).cancelled then return nil end
  return {names = role.limits, lines = {[TOTAL] = role.name}, watched = one.job.watched}
end

-- {'cancelled'} or {}; false: another worker had time to settle it, or it is unknown who did.
local function open_job(one)
  local job = job_of(one)
  local key = JOB_PREFIX .. keyed(job.id)
  if one.how == 'lost' or one.how == 'late' then
    local record = record_at(key)
    local own = record and entry_of(record) == one.entry
    if own and is_finished(record) or one.how == 'late' and not own then return false end
  end
  if one.how ~= 'again' then
    local attempt = math.max(adopt(one), 1)
    write_record(key, one.entry, running(roles[one.stream], one, job.id, job.fields, attempt), record_ttl_ms)
  end
  if job.cancelled then return {'cancelled'} end
  local role, workflow = roles[one.stream].name, job.fields.workflowId or 'unknown'
  one.names = names_of(role, workflow ~= '' and workflow or role, job.id)
  return {}
end

kinds[#kinds + 1] = {name = 'role', reads = function(one) return roles[one.stream] ~= nil end, open = open_job,
  limits = limits_of_job}
