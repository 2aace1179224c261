-- One request of a key, atomically: the same function as `gcra::step`, on Redis's clock.
-- KEYS[1]: the key. ARGV: interval in microseconds, burst.
-- Gives: allowed (1 or 0), remaining, retry after, reset after (microseconds).
local interval = tonumber(ARGV[1])
local burst_us = interval * tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- A value of another type, put there by someone else, counts as none; SET below replaces it.
local value = redis.pcall('GET', KEYS[1])
local held = type(value) == 'string' and tonumber(value) or now
held = math.min(math.max(held, now), now + burst_us)
local next = held + interval
local left = burst_us - (next - now)
if left < 0 then
  return {0, 0, -left, held - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {1, math.floor(left / interval), 0, next - now}
