-- Tools that only other pools have. What items wait for is a hash whose fields are names of tools; who takes one has all
-- of them.

gates.offer = {
  room = function(key, who)
    local pool = string.match(who, '^(.*)%.')
    local wanted = redis.call('HGETALL', key)
    for i = 1, #wanted, 2 do
      if not redis.call('HGET', OFFERS_PREFIX .. pool, 'tool ' .. wanted[i]) then return 0 end
    end
    return math.huge
  end,
}
