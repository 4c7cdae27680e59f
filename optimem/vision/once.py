"""Vision tokens of one session: encoded once, by whoever is first, and shared by the store.

Before anything is encoded its key is claimed, so that of many processes one encodes it and the
others wait for what that one stores. A claim that is not renewed lapses: what a killed process
had not stored yet is then encoded by another.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from optimem.errors import StoreError
from optimem.stores import Job, Store
from optimem.values import Scope
from optimem.vision.leases import renewed
from optimem.vision.prompt import Picture
from optimem.vision.tokens import TokenKey, pack, unpack

if TYPE_CHECKING:
    from optimem.vision.reader import LocalReader

_FIRST_LOOK, _LAST_LOOK = 0.01, 0.5  # seconds between looks at what others are making

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class TokensOnce:
    """Has the vision tokens of pictures made once.

    Attributes:
        reader: the model.
        store: where vision tokens are kept.
        scope: whose they are.
    """

    reader: LocalReader
    store: Store
    scope: Scope
    _at_hand: dict[TokenKey, Tensor] = field(default_factory=dict)
    _queued: set[TokenKey] = field(default_factory=set)
    _holder: str = field(default_factory=lambda: uuid.uuid4().hex)

    def tokens(
        self, pictures: Sequence[Picture], wanted: Callable[[], bool] = lambda: True
    ) -> list[Tensor] | None:
        """Vision tokens of each picture: those at hand, else the stored, else encoded now.

        Args:
            pictures: what is to be shown.
            wanted: asked before anything is encoded or left to workers.

        Returns:
            None when they are not all there and are no longer wanted.
        """
        by_key = {self.reader.key(p.name, p.tier): p for p in pictures}
        found = {key: self._at_hand[key] for key in by_key if key in self._at_hand}
        self.reader.work["at hand"] += len(found)
        found |= self._look(by_key.keys() - found.keys())
        missing = {key: p for key, p in by_key.items() if key not in found}
        made = self._make(missing, wanted)
        if made is None:
            return None
        self._at_hand = found = found | made
        return [found[self.reader.key(p.name, p.tier)] for p in pictures]

    def queue(self, pictures: Iterable[Picture]) -> None:
        """Leave pages to workers, each once."""
        new = {self.reader.key(p.name, p.tier): p for p in pictures if p.page is not None}
        jobs = [
            Job(self.scope.session, p.page, p.tier.label)
            for key, p in new.items()
            if p.page is not None and key not in self._queued
        ]
        self._queued |= new.keys()
        self.store.jobs.put(self.reader.queue(self.scope.namespace), jobs)

    def put_away(self, keys: Iterable[TokenKey]) -> None:
        """Have these no longer at hand."""
        for key in keys:
            self._at_hand.pop(key, None)

    def _look(self, keys: Iterable[TokenKey]) -> dict[TokenKey, Tensor]:
        """What the store has of these."""
        found = {}
        for key in keys:
            tokens = self._stored(key)
            if tokens is not None:
                found[key] = tokens
                self.reader.work["stored"] += 1
        return found

    def _make(
        self, missing: Mapping[TokenKey, Picture], wanted: Callable[[], bool]
    ) -> dict[TokenKey, Tensor] | None:
        """Encode what nobody else does, and wait for the rest.

        With workers, all is left to them as long as some of it keeps coming.
        """
        left = dict(missing)
        found: dict[TokenKey, Tensor] = {}
        patience = self.reader.patience
        heard, pause = time.monotonic(), _FIRST_LOOK
        while left:
            if not wanted():  # others may have made these, moved on and dropped them meanwhile
                return None
            if patience:
                self.queue(left.values())
            made = self._look(left)
            if time.monotonic() - heard >= patience:
                rest = {key: p for key, p in left.items() if key not in made}
                made |= self._encode_claimed(rest, wanted)
            found |= made
            left = {key: p for key, p in left.items() if key not in made}
            if made:
                heard, pause = time.monotonic(), _FIRST_LOOK
            elif left:
                time.sleep(pause)
                pause = min(2 * pause, _LAST_LOOK)
        return found

    def _encode_claimed(
        self, pictures: Mapping[TokenKey, Picture], wanted: Callable[[], bool]
    ) -> dict[TokenKey, Tensor]:
        """Those that nobody else has claimed: encoded, a batch at a time, and stored.

        What a plan shows is dropped with that plan alone. So whatever is not stored once it is
        claimed, and is still wanted after that, has not been encoded before.
        """
        found: dict[TokenKey, Tensor] = {}
        with self._claimed(pictures) as mine:
            found |= self._look(mine)  # another may have stored them just before
            missing = {key: pictures[key] for key in pictures if key in mine and key not in found}
            if not missing or not wanted():
                return found
            for key, tokens in self.reader.encode(missing):
                # Through its stored bytes: every process gives its model the same values.
                data = self.store.put_blob(self.scope, str(key), pack(tokens, key))
                found[key] = unpack(data, key, self.reader.shape(key.tier))
        return found

    @contextmanager
    def _claimed(self, keys: Iterable[TokenKey]) -> Iterator[set[TokenKey]]:
        """Claim these and keep the claims alive; gives those that nobody else has."""
        by_name = {str(key): key for key in keys}
        lease = self.reader.lease
        claim, scope, holder = self.store.jobs.claim, self.scope, self._holder
        names = sorted(claim(scope, list(by_name), holder, lease)) if by_name else []
        if not names:
            yield set()
            return
        with renewed(lambda: claim(scope, names, holder, lease), lease):
            try:
                yield {by_name[name] for name in names}
            finally:
                self.store.jobs.release(scope, names, holder)

    def _stored(self, key: TokenKey) -> Tensor | None:
        data = self.store.blob(self.scope, str(key))
        if data is None:
            return None
        try:
            return unpack(data, key, self.reader.shape(key.tier))
        except StoreError as error:  # whatever is lost can be encoded again
            _logger.warning("%s; encoding it again", error)
            self.store.drop_blobs(self.scope, [str(key)])
            return None
