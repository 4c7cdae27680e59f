"""Claims and queues in Redis: keys that expire, and a stream with a consumer group.

Claims stand in their session's slot. A queue is one stream for each namespace and model, a
whole key of its own without a hash tag: a worker can then wait for all sessions at once, which
streams in the sessions' slots would not allow on a Cluster. A namespace's jobs share one slot;
they are a few dozen bytes each and soon gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from optimem.errors import StoreError
from optimem.stores.codec import decode_job, encode_name
from optimem.stores.jobs import Job, Leased, Queue
from optimem.stores.redis_commands import Call, Command, RedisKeys, Steps, Value
from optimem.stores.redis_scripts import Script
from optimem.values import Scope

_logger = logging.getLogger(__name__)
_GROUP = "workers"
_LONGEST = 100_000  # jobs in a queue: what is dropped is encoded by whoever shows it
_FORGOTTEN = 24 * 3600 * 1000  # milliseconds until a silent worker without jobs is struck off

# holder, milliseconds; the keys of the claims
_CLAIM = Script("""
local mine = {}
for i, key in ipairs(KEYS) do
  local there = redis.call('GET', key)
  mine[i] = (not there or there == ARGV[1]) and 1 or 0
  if mine[i] == 1 then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return mine
""")

# holder; the keys of the claims
_RELEASE = Script("""
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('UNLINK', key) end
end
return 1
""")

# worker, count, milliseconds of a lease; returns ticket, tries, session, page, mode for each
_TAKE = Script(f"""
local queue, worker, count = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('EXISTS', queue) == 0 then return {{}} end
redis.pcall('XGROUP', 'CREATE', queue, '{_GROUP}', '0')  -- an error when it is there
local taken, cursor = {{}}, '0-0'
repeat
  local left = count - #taken
  local found = redis.call('XAUTOCLAIM', queue, '{_GROUP}', worker, ARGV[3], cursor,
    'COUNT', left)
  cursor = found[1]
  for _, entry in ipairs(found[2]) do
    if entry and entry[2] then
      local state = redis.call('XPENDING', queue, '{_GROUP}', entry[1], entry[1], 1)
      taken[#taken + 1] = {{entry[1], state[1][4], entry[2][2], entry[2][4], entry[2][6]}}
    end
  end
until cursor == '0-0' or #taken == count
if #taken < count then
  local found = redis.call('XREADGROUP', 'GROUP', '{_GROUP}', worker, 'COUNT', count - #taken,
    'STREAMS', queue, '>')
  for _, entry in ipairs(found and found[1][2] or {{}}) do
    taken[#taken + 1] = {{entry[1], 1, entry[2][2], entry[2][4], entry[2][6]}}
  end
end
return taken
""")

# worker, milliseconds to count as silent for, tickets
_HOLD = Script(f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
for i = 3, #ARGV do
  local state = redis.call('XPENDING', KEYS[1], '{_GROUP}', ARGV[i], ARGV[i], 1)
  if state[1] and state[1][2] == ARGV[1] then
    redis.call('XCLAIM', KEYS[1], '{_GROUP}', ARGV[1], 0, ARGV[i], 'IDLE', ARGV[2], 'JUSTID')
  end
end
return 1
""")

# tickets; workers that were silent for long and have no job are struck off on the way
_FINISH = Script(f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
redis.call('XACK', KEYS[1], '{_GROUP}', unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV))
for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], '{_GROUP}')) do
  local worker = {{}}
  for i = 1, #facts, 2 do worker[facts[i]] = facts[i + 1] end
  if worker.pending == 0 and worker.idle > {_FORGOTTEN} then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '{_GROUP}', worker.name)
  end
end
return 1
""")


class RedisJobs:
    """The Jobs protocol on Redis.

    Args:
        run: sends the commands of some steps.
        names: gives the keys of sessions.
    """

    def __init__(self, run: Callable[[Steps[Any]], Any], names: RedisKeys) -> None:
        self._run = run
        self._names = names

    def claim(
        self, scope: Scope, keys: Sequence[str], holder: str, seconds: float
    ) -> frozenset[str]:
        if not keys:
            return frozenset()
        names = [self._names.claim_key(scope, key) for key in keys]
        mine = self._call(_CLAIM, names, [holder, int(seconds * 1000)])
        return frozenset(key for key, is_mine in zip(keys, mine, strict=True) if is_mine)

    def release(self, scope: Scope, keys: Sequence[str], holder: str) -> None:
        if keys:
            self._call(_RELEASE, [self._names.claim_key(scope, key) for key in keys], [holder])

    def put(self, queue: Queue, jobs: Sequence[Job]) -> None:
        name, cipher = self._key(queue), self._names.cipher(queue.namespace)
        adds: list[Command] = [
            ("XADD", name, "MAXLEN", "~", _LONGEST, "*")
            + ("session", cipher.seal(encode_name(job.session), b"session"))
            + ("page", job.page, "mode", job.mode)
            for job in jobs
        ]

        def steps() -> Steps[None]:
            yield adds

        if adds:
            self._run(steps())

    def take(self, queue: Queue, worker: str, count: int, lease: float) -> list[Leased]:
        values = (worker, count, int(lease * 1000))
        cipher = self._names.cipher(queue.namespace)
        taken = []
        for ticket, tries, *fields in self._call(_TAKE, [self._key(queue)], values):
            try:
                job = decode_job(fields, cipher)
            except StoreError as error:
                _logger.warning("a job was dropped: %s", error)
                self.finish(queue, [ticket.decode()])
            else:
                taken.append(Leased(ticket.decode(), job, int(tries)))
        return taken

    def renew(self, queue: Queue, worker: str, tickets: Sequence[str], lease: float) -> None:
        self._call(_HOLD, [self._key(queue)], [worker, 0, *tickets])

    def finish(self, queue: Queue, tickets: Sequence[str]) -> None:
        if tickets:
            self._call(_FINISH, [self._key(queue)], tickets)

    def give_back(self, queue: Queue, worker: str, tickets: Sequence[str]) -> None:
        self._call(_HOLD, [self._key(queue)], [worker, _FORGOTTEN, *tickets])

    def count(self, queue: Queue) -> int:
        def steps() -> Steps[int]:
            (length,) = yield [("XLEN", self._key(queue))]
            return int(length)

        return int(self._run(steps()))

    def _call(self, script: Script, keys: Sequence[str], values: Sequence[Value]) -> Any:
        def steps() -> Steps[Any]:
            (reply,) = yield [Call(script, keys, values)]
            return reply

        return self._run(steps())

    def _key(self, queue: Queue) -> str:
        return self._names.queue_key(queue.namespace, queue.name)
