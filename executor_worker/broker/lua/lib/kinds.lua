-- Kinds of work. The part of each appends what it does with an entry in the step in which that is taken:
--
--   name   what Python knows it by
--   reads  function(one): whether an entry is of this kind; of several the first has it
--   open   function(one): what is brought along with the item, nil: nothing; false: it is not to be run now, and has been
--          acknowledged or parked
--   limits function(one), or nil: {names, lines, watched} of the limits it is under, see limits.lua; asked before `open`
--   feed   function(group, consumer), or nil: bring into a stream of the group what came elsewhere, before new entries
--          are read
--
-- `open` leaves in one.names whose progress the item's is, and in one.attempt which it is where that is no delivery, see
-- progress.lua.
--
-- *one* is a delivery: stream, entry, fields, count, group, consumer, and how it came: nil: now, it is about to be run;
-- 'lost': so too, but it has no pending row any more; 'late': so too, and for longer than a lease; 'again': it is read
-- again to be answered, nothing begins.
local kinds = {}

local function kind_of(one)
  for _, kind in ipairs(kinds) do
    if kind.reads(one) then return kind end
  end
  error('no kind of work served here reads ' .. one.stream .. ' ' .. one.entry)
end
