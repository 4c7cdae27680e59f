"""A worker: encodes the pages that contexts leave to it, for every session of a namespace.

    reader = LocalReader.load("nano")
    Worker(open_store("redis://host"), reader).run()      # what `optimem worker` does

A reader that was loaded with `patience` leaves its pages to workers whose encoder has the same
weights. Any number of them, on any number of machines, share the jobs.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from optimem.errors import InputError, OptiMemError, ReaderError
from optimem.modes import Tier
from optimem.settings import settle
from optimem.stores import Leased, Store
from optimem.values import Scope
from optimem.vision.leases import renewed

if TYPE_CHECKING:
    from optimem.values import Segment
    from optimem.vision import LocalReader
    from optimem.vision.session import Shown

_PAUSE = 0.2  # seconds between looks into an empty queue
_TRIES = 3  # a page that ends its worker so often is left to whoever shows it

_logger = logging.getLogger(__name__)


class Worker:
    """Takes jobs, a batch at a time, and stores what it makes of them.

    Args:
        store: where sessions and jobs are.
        reader: the model; its `batch` is how many jobs are taken at once, its `lease` how long
            others wait until they take over from a worker that is silent.
        namespace: whose sessions.

    Attributes:
        work: how many jobs were "done", were "obsolete" since their page is gone, and "failed".

    Raises:
        InputError: the reader would leave its pages to workers itself.
    """

    def __init__(self, store: Store, reader: LocalReader, namespace: str = "default") -> None:
        if reader.patience:
            raise InputError("a worker encodes pages itself: load its reader without patience")
        self.work: Counter[str] = Counter()
        self._store = store
        self._reader = reader
        self._namespace = namespace
        self._queue = reader.queue(namespace)
        self._name = uuid.uuid4().hex

    @property
    def waiting(self) -> int:
        """How many jobs are not done, those in some worker's hands included."""
        return self._store.jobs.count(self._queue)

    def run(self, *, drain: bool = False, report: Callable[[], object] = lambda: None) -> None:
        """Work until interrupted; jobs in hand are then given back.

        Args:
            drain: end when no job is left.
            report: called whenever some jobs are done.
        """
        while True:
            if self.step():
                report()
            elif drain and not self.waiting:
                return
            else:
                time.sleep(_PAUSE)

    def step(self) -> int:
        """Do at most one batch of jobs; returns how many were taken.

        Raises:
            StoreError: the store is out of reach; the jobs pass on to others.
        """
        jobs, lease = self._store.jobs, self._reader.lease
        left = jobs.take(self._queue, self._name, self._reader.batch, lease)
        taken = len(left)
        with renewed(lambda: jobs.renew(self._queue, self._name, _tickets(left), lease), lease):
            try:
                for group in _groups(left):
                    self._do(group)
                    left = [each for each in left if each not in group]
            except BaseException:
                jobs.give_back(self._queue, self._name, _tickets(left))
                raise
        return taken

    def _do(self, group: Sequence[Leased]) -> None:
        """Encode pages of one session; those that failed too often are given up."""
        scope = Scope(self._namespace, group[0].job.session)
        tries = group[0].tries
        try:
            if tries > _TRIES:
                raise ReaderError(f"it has ended {_TRIES} workers")
            pages = list(self._pages(scope, group))
            style = settle(self._store, scope, "auto", None, None).style
            self._reader.open(self._store, scope, style, _no_image).encode(pages)
        except OptiMemError as error:
            _logger.warning("%d pages of a session were not encoded: %s", len(group), error)
            if tries < _TRIES:
                return  # still leased: the next try comes when that lapses
            self.work["failed"] += len(group)
        else:
            self.work["done"] += len(pages)
            self.work["obsolete"] += len(group) - len(pages)
        self._store.jobs.finish(self._queue, _tickets(group))

    def _pages(self, scope: Scope, group: Sequence[Leased]) -> Iterator[Shown]:
        """The pages of jobs, as far as they are still there."""
        for each in group:
            number = each.job.page
            for facts in self._store.page_facts(scope, number, number + 1):
                yield number, facts.hash, Tier.parse(each.job.mode)


def _groups(leased: Sequence[Leased]) -> Iterator[list[Leased]]:
    """Jobs of one session together; one that did not go well at first on its own."""
    fresh = sorted((each for each in leased if each.tries == 1), key=lambda each: each.job.session)
    for _, group in groupby(fresh, key=lambda each: each.job.session):
        yield list(group)
    yield from ([each] for each in leased if each.tries > 1)


def _tickets(leased: Sequence[Leased]) -> list[str]:
    return [each.ticket for each in leased]


def _no_image(segment: Segment) -> tuple[str, bytes]:
    raise InputError("a worker encodes pages, not attachments")
