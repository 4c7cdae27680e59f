"""A session, opened: the parts that a memory's verbs work with, in step with its store."""

from __future__ import annotations

import threading
from typing import TypeVar

from optimem.context import Context
from optimem.images import Images
from optimem.ledger import Ledger
from optimem.past import Past
from optimem.planning.assembly import ContextBuilder
from optimem.policies import Epochs, Policy
from optimem.recall import SearchIndex
from optimem.renderers.layout import PageStyle
from optimem.settings import settle
from optimem.similarity import Embed
from optimem.stores import Store, default_url, open_store
from optimem.tokens import find_counter
from optimem.values import Scope

Opened = TypeVar("Opened", bound="Session")


class Session:
    """What a memory knows and keeps of one session. Open it with `Memory.open`."""

    def __init__(
        self,
        store: Store,
        scope: Scope,
        *,
        policy: Policy | None = None,
        style: PageStyle | None = None,
        counter: str = "auto",
        caption_tokens: int | None = None,
        embed: Embed | None = None,
    ) -> None:
        self.store = store
        self.scope = scope
        self._policy = policy or Epochs()
        self._embed = embed
        self._owns_store = False
        self._last: Context | None = None
        self._lock = threading.RLock()
        self._settings = settle(store, scope, counter, style, caption_tokens)
        self._counter = find_counter(self._settings.counter)
        style, room = self._settings.style, self._settings.caption_tokens
        self._index = SearchIndex(store, scope)
        self._ledger = Ledger(store, scope, self._counter, style, room)
        self._past = Past(store, scope, self._ledger, self._index)
        self._images = images = Images(store, scope, self._ledger, style)
        self._contexts = ContextBuilder(
            store, scope, self._ledger, self._policy, images.image, images.hide, style
        )

    @classmethod
    def open(
        cls: type[Opened],
        url: str | None = None,
        session: str = "default",
        *,
        namespace: str = "default",
        policy: Policy | None = None,
        style: PageStyle | None = None,
        counter: str = "auto",
        caption_tokens: int | None = None,
        embed: Embed | None = None,
        key: str | bytes | None = None,
        create: bool = True,
    ) -> Opened:
        """Open a session, which comes into being with its first turn.

        Args:
            url: `sqlite:///path`, `redis://host` (see `optimem.stores.redis`) or `memory://`;
                by default `$OPTIMEM_STORE`, else a SQLite file in the user's data folder.
            session: the session's name.
            namespace: whose session it is; names in different namespaces never meet.
            policy: how pages fade; `Epochs()` by default.
            style: how pages are laid out and drawn; settled when the session begins.
            counter: what counts text tokens ("o200k", "chars", or "auto" for the best
                that is installed); settled when the session begins.
            caption_tokens: the most tokens beside each page for its place and anchors
                (56); settled when the session begins.
            embed: turns texts into vectors, to be fused with word search in `recall`.
            key: encrypts all that reaches the store (see `optimem.stores.open_store`);
                `$OPTIMEM_KEY` by default.
            create: make a file that is not there; else that is an error.

        Raises:
            NotFoundError: there is no such file, and it shall not be made.
            StoreError: the store cannot be opened.
            InputError: the session was begun with other settings.
        """
        store = open_store(url or default_url(), key, create=create)
        try:
            memory = cls(
                store,
                Scope(namespace, session),
                policy=policy,
                style=style,
                counter=counter,
                caption_tokens=caption_tokens,
                embed=embed,
            )
        except BaseException:
            store.close()
            raise
        memory._owns_store = True
        return memory

    def __repr__(self) -> str:
        scope = f"{self.scope.namespace}/{self.scope.session}"
        return f"<{type(self).__name__} {scope} in {self.store.url}>"

    def close(self) -> None:
        """Close the store if this memory opened it."""
        if self._owns_store:
            self.store.close()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
