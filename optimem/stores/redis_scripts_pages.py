"""Scripts for what can be made again: pages, plans and blobs."""

from __future__ import annotations

from optimem.stores.redis_scripts import script

# generation, then triples of number, facts, body
ADD_PAGES = script("""
if not schema or number(meta, 'generation') ~= tonumber(ARGV[1]) then return 0 end
local count = redis.call('HLEN', pages) / 2
for i = 2, #ARGV, 3 do
  if tonumber(ARGV[i]) > count then return 0 end
  if tonumber(ARGV[i]) == count then
    redis.call('HSET', pages, 'f' .. ARGV[i], ARGV[i + 1], 'b' .. ARGV[i], ARGV[i + 2])
    count = count + 1
  end
end
settle()
return 1
""")

# name, plan, past plan or ''; from the tenth on, keys of blobs that it no longer shows
SWAP_PLAN = script("""
if not schema then return 1 end
if (redis.call('HGET', plans, ARGV[1]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', plans, ARGV[1], ARGV[2])
for i = 10, #KEYS do
  redis.call('UNLINK', KEYS[i])
  redis.call('HDEL', blobs, KEYS[i])
end
settle()
return 1
""")

# value, its own life, the damaged value to replace or '', its hash, its name; the tenth key is
# the blob's
PUT_BLOB = script("""
if not schema then return false end
local there = redis.call('GET', KEYS[10])
if there and there ~= ARGV[3] then return there end
local moment = redis.call('HGET', meta, 'expires')
redis.call('SET', KEYS[10], ARGV[1])
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[10], ARGV[2]) end
if moment then
  local now = redis.call('TIME')
  local left = moment - (now[1] * 1000 + math.floor(now[2] / 1000))
  if ARGV[2] == '0' or tonumber(ARGV[2]) > left then redis.call('PEXPIREAT', KEYS[10], moment) end
end
redis.call('HSET', blobs, KEYS[10], #ARGV[1] .. '#' .. ARGV[4] .. ':' .. ARGV[5])
settle()
return false
""")
