"""What has to happen in Redis as one step, in its own language."""

EXCHANGE = """
local generation, revision, marks, revisions, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
redis.call('SETNX', generation, ARGV[1])
local current = redis.call('GET', generation)
local since, answer, late, written = ARGV[3], {}, {}, false
local now = tonumber(redis.call('TIME')[1])
if current ~= ARGV[2] then
  since = '0'
else
  for i = 6, #ARGV, 5 do
    local key, at, yields = ARGV[i], tonumber(ARGV[i + 1]), false
    local to = tonumber(ARGV[i + 2])
    if to > 0 then
      local there, old = pcall(cjson.decode, redis.call('HGET', marks, key) or '')
      yields = there and type(old) == 'table' and type(old.at) == 'number' and old.at > at and old.at - at < to
    end
    if yields then
      late[#late + 1] = key
    else
      redis.call('ZADD', revisions, redis.call('INCR', revision), key)
      redis.call('HSET', marks, key, ARGV[i + 4])
      redis.call('ZREM', ends, key)
      if ARGV[i + 3] ~= '' then
        redis.call('ZADD', ends, string.format('%.0f', math.max(now, tonumber(ARGV[i + 3]))), key)
      end
      written = true
    end
  end
end
if written then
  local long_ago = now - tonumber(ARGV[4])
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', '(' .. string.format('%.0f', long_ago))) do
    redis.call('HDEL', marks, key)
    redis.call('ZREM', revisions, key)
    redis.call('ZREM', ends, key)
  end
  redis.call('PUBLISH', ARGV[5], '')
end
answer[1], answer[2] = current, redis.call('GET', revision) or '0'
local keys = redis.call('ZRANGEBYSCORE', revisions, '(' .. since, '+inf')
for _, key in ipairs(late) do keys[#keys + 1] = key end
for _, key in ipairs(keys) do
  local text = redis.call('HGET', marks, key)
  if text then
    answer[#answer + 1] = key
    answer[#answer + 1] = text
  end
end
return answer
"""

# The entry begins with its number: equal texts would be one member of the sorted set.
APPEND = """
local journal, number, writer = KEYS[1], KEYS[2], KEYS[3]
if tonumber(redis.call('GET', number) or '0') < tonumber(ARGV[1]) then redis.call('SET', number, ARGV[1]) end
local known = tonumber(redis.call('GET', writer) or '-1')
for i = 5, #ARGV, 2 do
  if tonumber(ARGV[i]) > known then
    local id = redis.call('INCR', number)
    redis.call('ZADD', journal, id, id .. ' ' .. ARGV[i + 1])
    redis.call('SET', writer, ARGV[i], 'EX', ARGV[3])
  end
end
redis.call('ZREMRANGEBYRANK', journal, 0, -tonumber(ARGV[2]) - 1)
redis.call('PUBLISH', ARGV[4], '')
"""

HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

BEAT = """
local ends, figures, worker = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', ends, string.format('%.0f', now + tonumber(ARGV[2])), worker)
redis.call('HSET', figures, worker, ARGV[3])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', '(' .. string.format('%.0f', now))) do
  redis.call('ZREM', ends, gone)
  redis.call('HDEL', figures, gone)
end
redis.call('EXPIRE', ends, 3600)
redis.call('EXPIRE', figures, 3600)
redis.call('PUBLISH', ARGV[4], '')
return redis.call('HVALS', figures)
"""
