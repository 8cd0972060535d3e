-- Let entries wait no longer, whatever they wait for: who takes one sees why.
-- KEYS: what is parked. ARGV: stream and entry of each. Reply: nil.

for i = 1, #ARGV, 2 do unpark(ARGV[i] .. ' ' .. ARGV[i + 1]) end
