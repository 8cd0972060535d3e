-- Read those documents that may say that they are cancelled. Nothing is decoded here: see settle.lua.
-- KEYS: the documents. ARGV: bytes above which one is not looked into, the word to look for, then for each document the
--       SHA-1 of what was read of it last ('' = nothing).
-- Reply: for each that is to be looked at: its position (from 0), the document (false: it is too large).

local found = {}
for i, key in ipairs(KEYS) do
  local size = redis.pcall('STRLEN', key)
  if type(size) == 'table' then
    if not string.find(size.err, '^%-?WRONGTYPE') then return size end
    size = 0
  end
  if size > tonumber(ARGV[1]) then
    found[#found + 1] = i - 1
    found[#found + 1] = false
  elseif size > 0 then
    local document = redis.call('GET', key)
    -- The word is rare, so that its digest is seldom asked for.
    if string.find(document, ARGV[2], 1, true) and redis.sha1hex(document) ~= ARGV[2 + i] then
      found[#found + 1] = i - 1
      found[#found + 1] = document
    end
  end
end
return found
