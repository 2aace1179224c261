-- One request under one or several keys, atomically: the same function as `gcra::step_all`. It passes when it passes
-- under each of them, and only then is it counted, under all.
-- KEYS: the keys. ARGV: the time in microseconds, or 0 for Redis's own clock; then for each key its interval in
-- microseconds and its burst.
-- Gives for each key: allowed (1 or 0), remaining, retry after, reset after (microseconds).
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local verdicts, taken, passes = {}, {}, true
for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * i])
  local burst_us = interval * tonumber(ARGV[2 * i + 1])
  -- A value of another type, put there by someone else, counts as none; SET below replaces it.
  local value = redis.pcall('GET', key)
  local held = type(value) == 'string' and tonumber(value) or now
  held = math.min(math.max(held, now), now + burst_us)
  local next = held + interval
  local left = burst_us - (next - now)
  if left < 0 then
    passes = false
    verdicts[i] = {0, 0, -left, held - now}
  else
    taken[i] = next
    verdicts[i] = {1, math.floor(left / interval), 0, next - now}
  end
end
if passes then
  -- A key goes when it is free again; on another clock than Redis's that cannot be told, and it stays a while.
  for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', taken[i]), 'PX',
      ARGV[1] == '0' and math.ceil((taken[i] - now) / 1000) or 600000)
  end
end
return verdicts
