"""Work on blobs that several processes share: who makes one now, and what is left to workers.

A claim says that somebody is making a blob, so that nobody makes it twice. A queue holds jobs
for workers: each is leased to one worker, and passes on when that one is not heard of. Both
name what they are about by ids; no word of a turn is in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from optimem.values import Scope


@dataclass(frozen=True, slots=True)
class Queue:
    """Whose jobs, and which workers can do them.

    Attributes:
        namespace: whose sessions they are of.
        name: what the workers make; those of another model have another queue.
    """

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Job:
    """A page that is to be encoded.

    Attributes:
        session: the session's name.
        page: the page's number.
        mode: label of the tier in which it is to be shown.
    """

    session: str
    page: int
    mode: str


@dataclass(frozen=True, slots=True)
class Leased:
    """A job in a worker's hands.

    Attributes:
        ticket: names this place in the queue.
        job: what is to be done.
        tries: how often it was handed out, this time included.
    """

    ticket: str
    job: Job
    tries: int


class Jobs(Protocol):
    """Claims and queues of one home. Safe to use from several threads."""

    def claim(
        self, scope: Scope, keys: Sequence[str], holder: str, seconds: float
    ) -> frozenset[str]:
        """Claim blobs that are to be made; returns those that nobody else has claimed.

        What the holder has claimed already is claimed anew from now on.
        """
        ...

    def release(self, scope: Scope, keys: Sequence[str], holder: str) -> None:
        """Give up claims; those of others stay."""
        ...

    def put(self, queue: Queue, jobs: Sequence[Job]) -> None:
        """Leave jobs to workers. When nobody takes any, the oldest are dropped in the end."""
        ...

    def take(self, queue: Queue, worker: str, count: int, lease: float) -> list[Leased]:
        """At most `count` jobs, those first whose worker was not heard of for `lease` seconds."""
        ...

    def renew(self, queue: Queue, worker: str, tickets: Sequence[str], lease: float) -> None:
        """Say that the worker still is at these jobs, as far as they are its own."""
        ...

    def finish(self, queue: Queue, tickets: Sequence[str]) -> None:
        """Take done jobs out of the queue."""
        ...

    def give_back(self, queue: Queue, worker: str, tickets: Sequence[str]) -> None:
        """Let others have these jobs at once, as far as they are the worker's own."""
        ...

    def count(self, queue: Queue) -> int:
        """How many jobs are not done."""
        ...
