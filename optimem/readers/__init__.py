"""Readers: who reads pages, what they take for them, and in which modes.

    find_reader("openai:gpt-6-astra").page_cost(Tier.BASE)   # 1229

Nothing here is asked of the network: one dated table holds rules, prices and limits.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from optimem.errors import NotFoundError
from optimem.modes import Tier
from optimem.readers.prices import ImageCost
from optimem.readers.profile import RULES, Profile, Rule

__all__ = ["RULES", "ImageCost", "Profile", "Rule", "find_reader", "reader_names"]

_logger = logging.getLogger(__name__)
_SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest|preview)$")


def find_reader(name: str | Profile) -> Profile:
    """The profile of a reader.

    Names are taken as providers spell them: with or without "provider:", with a dash for a
    dot, with the date of a snapshot. A model that is not in the table gets the rules of its
    family, without prices and window; that guess is logged once as a warning and shows in
    `Profile.guessed_from`.

    Args:
        name: "provider:model", or a Profile, which comes back as it is.

    Raises:
        NotFoundError: neither the model nor its family is known.
    """
    return name if isinstance(name, Profile) else _find(name)


def reader_names() -> list[str]:
    """Names of all readers in the table, sorted."""
    return sorted(_table()["models"])


@cache
def _table() -> dict[str, Any]:
    text = resources.files("optimem.readers").joinpath("profiles.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def _find(name: str) -> Profile:
    provider, _, model = name.strip().lower().replace("/", ":").rpartition(":")
    wanted = _key(model)
    known = {_key(full.partition(":")[2]): full for full in _table()["models"]}
    for key in (wanted, _SNAPSHOT.sub("", wanted)):
        if key in known:
            owner = known[key].partition(":")[0]
            if provider in ("", owner) or owner == "local":  # weights have many homes
                return _load(known[key])
    families = {_key(family): full for family, full in _table()["families"].items()} | known
    # A family ends where its version does: gpt-4 is none of gpt-4o, nor of gpt-40.
    near = [key for key in families if re.match(re.escape(key) + r"(?![a-z0-9])", wanted)]
    near = near or [key for key in families if wanted.startswith(key)]
    if not near:
        raise _unknown(name, known)
    profile = _load(families[max(near, key=len)])
    _logger.warning(
        "no reader is called %r: guessing the rules of %s, without prices and window",
        name,
        profile.name,
    )
    return replace(
        profile,
        name=name if provider else f"{profile.provider}:{name}",
        window=None,
        input_price=None,
        cached_price=None,
        write_price=None,
        cliff=None,
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
        "or pass an optimem.readers.Profile of your own."
    )


@cache
def _load(name: str) -> Profile:
    """Build the profile of a name that is in the table."""
    table = _table()
    model = table["models"][name]
    provider = name.partition(":")[0]
    image, served = table["images"][model["image"]], table["providers"][provider]
    cliff = model.get("cliff")
    cited = (*image["sources"], *model["sources"])
    return Profile(
        name=name,
        provider=provider,
        format=served["format"],
        rule=RULES[image["rule"]],
        modes={Tier.parse(label): detail for label, detail in image["modes"].items()},
        parameters=image.get("parameters", {}),
        levels=image.get("levels", {}),
        default=image.get("default"),
        window=model["window"],
        text_factor=model["text_factor"],
        input_price=model["input"],
        cached_price=model["cached"],
        write_price=model["write"],
        cliff=(cliff[0], cliff[1]) if cliff else None,
        limits=served["limits"] | image.get("limits", {}) | model.get("limits", {}),
        note=model.get("note", ""),
        sources=tuple(table["sources"][key] for key in dict.fromkeys(cited)),
    )
