-- ARGV, read word by word.

local next_word = 0
local function word()
  next_word = next_word + 1
  return ARGV[next_word]
end
local function number() return tonumber(word()) end

-- Decisions that the caller brings: node, status, edges taken, output ('' none), error and metadata, data of its event,
-- stream and JSON of the event for others ('' none), what it was decided without, further events as pairs.
local function read_decision()
  local id, decision = word(), {status = word(), took = word()}
  decision.output, decision.rest, decision.data = word(), word(), word()
  decision.stream, decision.mirror, decision.tail = word(), word(), word()
  if decision.output == '' then decision.output = nil end
  if decision.stream == '' then decision.stream = nil end
  decision.assumed, decision.events = {}, {}
  for i = 1, number() do decision.assumed[i] = word() end
  for i = 1, number() do decision.events[i] = {word(), word()} end
  return id, decision
end

local function read_decisions(run)
  for _ = 1, number() do
    local id, decision = read_decision()
    run.given[id] = decision
  end
  local output = word()
  local told = string.find(output, '\n', 1, true) -- what of it could not be made
  if told then output, run.unfilled = string.sub(output, 1, told - 1), string.sub(output, told + 1) end
  return output ~= '' and output or nil
end
