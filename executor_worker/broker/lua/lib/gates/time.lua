-- What is due at a time: an item that is to be run again after a while.

local MOST_DUE = 100

gates.time = {
  room = function(key, _, now)
    return #redis.call('ZRANGEBYSCORE', key .. ':waiting', '-inf', whole(now), 'LIMIT', 0, MOST_DUE)
  end,
  opens = function(key, now)
    local first = redis.call('ZRANGE', key .. ':waiting', 0, 0, 'WITHSCORES')
    return first[2] and math.max(tonumber(first[2]) - now, 0) or -1
  end,
  upto = function(now) return now end,
}
