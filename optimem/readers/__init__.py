"""Readers: who reads pages, what they take for them, and in which modes.

    find_reader("openai:gpt-6-astra").page_cost(Tier.BASE)   # 1229

Nothing here is asked of the network: one dated table holds rules, prices and limits, and
`$OPTIMEM_READERS` may name a file with readers of your own (`optimem.readers.table`).
"""

from __future__ import annotations

import difflib
import logging
import re
from contextlib import suppress
from dataclasses import replace
from functools import cache

from optimem.errors import InputError, NotFoundError
from optimem.readers import table
from optimem.readers.describe import describe
from optimem.readers.dollars import CacheRule, Dollars
from optimem.readers.prices import ImageCost
from optimem.readers.profile import RULES, Format, Profile, Rule

__all__ = [
    "RULES",
    "CacheRule",
    "Dollars",
    "Format",
    "ImageCost",
    "Profile",
    "Rule",
    "describe",
    "find_reader",
    "reader_names",
]

_logger = logging.getLogger(__name__)
_SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest|preview)$")


def find_reader(name: str | Profile) -> Profile:
    """The profile of a reader.

    Names are taken as providers spell them: with or without "provider:", with a dash for a
    dot, with the date of a snapshot, with a tag ("qwen3-vl:8b"). "openai-responses:" before a
    model of OpenAI's asks for its other API, "google-openai:" for Gemini's endpoint in OpenAI's
    shape. A model that is not in the table gets the rules of its family, without prices and
    window; that guess is logged once as a warning, shows in `Profile.guessed_from`, and contexts
    say so.

    Args:
        name: "provider:model", or a Profile, which comes back as it is.

    Raises:
        NotFoundError: neither the model nor its family is known.
        InputError: `$OPTIMEM_READERS` names a file that cannot be read.
    """
    return name if isinstance(name, Profile) else _find(name, table.stamp())


def reader_names() -> list[str]:
    """Names of all readers in the table and of the user's own, sorted."""
    return sorted({*table.table()["models"], *table.own_rows(table.stamp())})


@cache
def _find(name: str, file: table.Stamp | None, seen: tuple[str, ...] = ()) -> Profile:
    own = table.own_rows(file)
    if name in own and seen[-1:] != (name,):  # one that is like itself is like the table's
        if name in seen:
            raise InputError(f"the readers {' and '.join(seen)} are each said to be like the other")
        like = _find(own[name]["like"], file, (*seen, name))
        return table.own(name, own[name], like)
    provider, _, model = name.strip().lower().replace("/", ":").rpartition(":")
    host = provider.partition(":")[0]
    wanted = _key(model)
    models = table.table()["models"]
    known = {_key(full.partition(":")[2]): full for full in models}
    for key in (wanted, _SNAPSHOT.sub("", wanted)):
        if key in known:
            owner = known[key].partition(":")[0]
            # Open weights have many homes.
            if table.provider_of(provider) in ("", owner) or owner == "local":
                return table.host(host, table.listed(known[key]))
    if guess := _guess(name, host, wanted, known):
        return guess
    bare, colon, _ = name.rpartition(":")
    if colon and bare.lower() not in {*table.table()["providers"], *table.table()["hosts"]}:
        with suppress(NotFoundError):  # behind the colon of a model's own name stands a tag
            return _find(bare, file, seen)
    raise _unknown(name, known)


def _guess(name: str, host: str, wanted: str, known: dict[str, str]) -> Profile | None:
    """The rules of the nearest family, announced; None if there is none."""
    listed = table.table()["families"]
    families = {_key(family): full for family, full in listed.items()} | known
    # A family ends where its version does: gpt-4 is none of gpt-4o, nor of gpt-40.
    near = [key for key in families if re.match(re.escape(key) + r"(?![a-z0-9])", wanted)]
    near = near or [key for key in families if wanted.startswith(key)]
    if not near:
        return None
    profile = table.host(host, table.listed(families[max(near, key=len)]))
    _logger.warning(
        "no reader is called %r: guessing the rules of %s, without prices and window",
        name,
        profile.name,
    )
    return replace(
        profile,
        name=name if host else f"{profile.provider}:{name}",
        window=None,
        dollars=None,
        cache=None,
        guessed_from=profile.name,
    )


def _key(model: str) -> str:
    """One spelling for claude-opus-5.5 and claude-opus-5-5."""
    return model.replace(".", "-").replace("_", "-")


def _unknown(name: str, known: dict[str, str]) -> NotFoundError:
    bare = _key(name.lower().replace("/", ":").rpartition(":")[2])
    close = [known[key] for key in difflib.get_close_matches(bare, known, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return NotFoundError(
        f"no reader is called {name!r}.{hint} See all with `optimem readers`, "
        "or pass an optimem.readers.Profile of your own, or a model that runs here "
        "(optimem.vision.LocalReader)."
    )
