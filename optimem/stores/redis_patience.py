"""Waiting while a cluster moves a slot to another server, or finds another primary.

A script needs all keys of its session on one server; while they move, a server says "try
again" until the last of them has. redis-py asks again at once, and learns the whole cluster
anew each few times: many writers would slow the very move that they wait for.
"""

from __future__ import annotations

import random
import time
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MaxConnectionsError,
    MovedError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)

REDIRECTIONS = 4
"""That redis-py follows by itself: one to where the slot is, one to where its key goes."""

_FIRST, _LONGEST = 0.005, 0.25  # seconds
_PASSES = (
    AskError,  # MovedError, too
    ClusterDownError,
    ConnectionError,
    SlotNotCoveredError,
    TimeoutError,
    TryAgainError,
)
_STAYS = (AuthenticationError, AuthorizationError, MaxConnectionsError)


class Patience:
    """How long one command is sent again and again.

    Args:
        seconds: after which its error is the answer.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._longest = _FIRST

    def pause(self, error: Exception) -> float:
        """How long to wait before the next time; raises the error if there shall be none.

        Twice as long each time, and by chance, so that many writers do not come at once.
        """
        left = self._end - time.monotonic()
        if left <= 0 or not _passes(error):
            raise error
        pause = random.uniform(0, self._longest)
        self._longest = min(2 * self._longest, _LONGEST)
        return min(pause, left)


def in_cluster(client: Any) -> bool:
    """Whether a client of redis-py is one of a cluster."""
    return hasattr(client, "get_primaries")


def outdates_map(error: Exception) -> bool:
    """Whether a client's map of the cluster is wrong; a slot on its way is no reason to say so."""
    on_its_way = isinstance(error, (AskError, TryAgainError))
    return _passes(error) and (isinstance(error, MovedError) or not on_its_way)


def _passes(error: Exception) -> bool:
    if isinstance(error, _STAYS):
        return False
    # A bare ClusterError says that more redirections than redis-py follows were needed.
    return isinstance(error, _PASSES) or type(error) is ClusterError
