"""Homes for memories: one `Store` protocol, opened by URL."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote

from optimem.errors import StoreError
from optimem.stores.cipher import Ciphers, both_ciphers, ciphers, new_key
from optimem.stores.jobs import Job, Jobs, Leased, Queue
from optimem.stores.postings import BLOCK, Postings, decode_postings, index_stretches
from optimem.stores.protocol import Draft, SessionState, Store

__all__ = [
    "BLOCK",
    "Draft",
    "Job",
    "Jobs",
    "Leased",
    "Postings",
    "Queue",
    "SessionState",
    "Store",
    "decode_postings",
    "default_url",
    "index_stretches",
    "new_key",
    "open_both",
    "open_store",
]


def default_url() -> str:
    """`$OPTIMEM_STORE`, else a SQLite file in the user's data folder."""
    import platformdirs

    folder = Path(platformdirs.user_data_dir("optimem"))
    return os.environ.get("OPTIMEM_STORE") or f"sqlite:///{folder / 'memory.db'}"


def open_both(
    url: str, old: str | bytes, new: str | bytes, *, create: bool = True
) -> tuple[Store, Store]:
    """One home under two keys, to move its sessions from the old to the new; "" for none.

    Raises:
        StoreError: both keys are the same, or as `open_store` says.
        NotFoundError: there is no such file, and it shall not be made.
    """
    before, after = both_ciphers(old, new)
    first = open_store(url, before, create=create)
    try:
        return first, open_store(url, after, create=create)
    except BaseException:
        first.close()
        raise


def open_store(url: str, key: str | bytes | Ciphers | None = None, *, create: bool = True) -> Store:
    """Open a home by its URL.

    `memory://` is gone when closed. `sqlite:///path` (`sqlite:////absolute/path`) survives
    a crash, with `?synchronous=full` also a power failure. `redis://`, `rediss://`,
    `redis+sentinel://` and `redis+cluster://` are read by `optimem.stores.redis`.

    With a key (see `new_key`; `$OPTIMEM_KEY` by default) all words are encrypted before they
    reach the home, and so is everything derived from them. Times, sizes, counts and how often
    a term occurs, though not which, stay readable. Recall then finds whole words alone.

    Args:
        url: the home.
        key: what it is encrypted with; "" for no encryption.
        create: make a file that is not there; else that is an error.

    Raises:
        NotFoundError: there is no such file, and it shall not be made.
        StoreError: the URL is of no known kind, the store cannot be opened, or the key is none.
        MissingExtraError: the store needs a package that is not installed.
    """
    from optimem.stores.sqlite import SQLiteStore

    kept = key if callable(key) else ciphers(key)
    if url == "memory://":
        return SQLiteStore(None, ciphers=kept)
    if url.startswith("sqlite:///"):
        path, _, query = url.removeprefix("sqlite:///").partition("?")
        options = parse_qs(query)
        synchronous = options.pop("synchronous", ["normal"])[0].lower()
        if options or synchronous not in ("normal", "full") or not path:
            raise StoreError(f"cannot open {url!r}: use sqlite:///path or ?synchronous=full")
        return SQLiteStore(Path(unquote(path)).expanduser(), synchronous, kept, create)
    if url.startswith("redis"):
        from optimem.stores.redis import RedisStore

        return RedisStore.open(url, kept)
    raise StoreError(
        f"cannot open {url!r}: use sqlite:///path/to/file.db, redis://host or memory://"
    )
