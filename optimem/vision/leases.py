"""Keeping a lease alive while work that may take longer goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optimem.errors import StoreError

_logger = logging.getLogger(__name__)


@contextmanager
def renewed(renew: Callable[[], object], lease: float) -> Iterator[None]:
    """Renew a lease from another thread, three times in its length, while the work lasts."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(lease / 3):
            try:
                renew()
            except StoreError as error:  # the lease may lapse, and the work be done twice
                _logger.warning("a lease could not be renewed: %s", error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
