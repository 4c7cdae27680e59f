"""The dated table of readers: rules, prices, limits and caches, and users' own beside them.

A reader of one's own takes three lines, in code or in a file that `$OPTIMEM_READERS` names:

    mine = replace(find_reader("qwen:qwen3-vl"), name="vllm:mine", window=32_768)
    {"models": {"vllm:mine": {"like": "qwen:qwen3-vl", "window": 32768}}}
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from optimem.errors import InputError, NotFoundError
from optimem.modes import Tier
from optimem.readers.dollars import CacheRule, Dollars
from optimem.readers.profile import RULES, Profile

Table = dict[str, Any]
Stamp = tuple[str, int]
"""A user's file as it was last changed: its path and time."""

_OWN = {
    *("like", "window", "text_factor", "input", "cached", "write", "output", "cliff", "cache"),
    *("limits", "modes", "fidelity", "image_factor", "format", "note", "measured"),
}


def stamp() -> Stamp | None:
    """Which file of the user's own readers counts now; None without one.

    Raises:
        InputError: `$OPTIMEM_READERS` names a file that is not there.
    """
    path = os.environ.get("OPTIMEM_READERS")
    if not path:
        return None
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError as error:
        raise InputError(f"$OPTIMEM_READERS names {path!r}: {error.strerror}") from None


@cache
def table() -> Table:
    """The table that comes along."""
    text = resources.files("optimem.readers").joinpath("profiles.json").read_text("utf-8")
    found: Table = json.loads(text)
    return found


@cache
def own_rows(file: Stamp | None) -> dict[str, Table]:
    """The user's own readers by name.

    Raises:
        InputError: the file cannot be read; the sentence says what is wrong.
    """
    if file is None:
        return {}
    path = file[0]
    try:
        models = json.loads(Path(path).read_text("utf-8"))["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} is not {{"models": {{…}}}} as JSON: {error}') from None
    if not isinstance(models, dict):
        raise InputError(f"{path}: models must be an object, each reader's row by its name")
    for name, row in models.items():
        if not isinstance(row, dict) or not isinstance(row.get("like"), str):
            raise InputError(f"{path}: {name!r} needs a reader that it is like, as in"
                             ' {"like": "openai:gpt-6-astra"}')  # fmt: skip
        if unknown := sorted(set(row) - _OWN):
            raise InputError(
                f"{path}: {name!r} says {unknown[0]!r}; known are {', '.join(sorted(_OWN))}"
            )
    return models


@cache
def listed(name: str) -> Profile:
    """The profile of a name that is in the table."""
    rows = table()
    model = rows["models"][name]
    provider = name.partition(":")[0]
    image, served = rows["images"][model["image"]], rows["providers"][provider]
    cited = (*image["sources"], *model["sources"])
    reads_images = image["rule"] != "no_image"
    formats = tuple(f"image/{kind}" for kind in served["image_formats"])
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
        dollars=_dollars(model),
        cache=_cache(model),
        limits=served["limits"] | image.get("limits", {}) | model.get("limits", {}),
        image_roles=tuple(served["image_roles"]) if reads_images else (),
        image_formats=formats if reads_images else (),
        note=model.get("note", ""),
        sources=tuple(rows["sources"][key] for key in dict.fromkeys(cited)),
    )


def own(name: str, row: Table, like: Profile) -> Profile:
    """A user's reader, which is like another but for what its row says.

    Raises:
        InputError: a value of the row cannot be read.
    """
    try:
        return _own(name, row, like)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"the reader {name!r} of $OPTIMEM_READERS: {error}") from None


def _own(name: str, row: Table, like: Profile) -> Profile:
    modes = like.modes
    if "modes" in row:
        wanted = [Tier.parse(label) for label in row["modes"]]
        modes = {tier: like.modes[tier] for tier in wanted}
    changes: dict[str, Any] = {key: row[key] for key in ("note", "format", "window") if key in row}
    changes |= {key: float(row[key]) for key in ("text_factor", "image_factor") if key in row}
    prices = {"input", "cached", "write", "output", "cliff", "cache"} & set(row)
    if prices:
        changes |= {"dollars": _dollars(row), "cache": _cache(row)}
    fidelity = {Tier.parse(label): float(share) for label, share in row.get("fidelity", {}).items()}
    return replace(
        like,
        name=name,
        modes=modes,
        limits={**like.limits, **row.get("limits", {})},
        fidelity=fidelity or like.fidelity,
        **changes,
    )


def host(name: str, profile: Profile) -> Profile:
    """The profile as a host serves it that is known for other limits or another format."""
    served = table()["hosts"].get(name)
    if served is None:
        return profile
    return replace(
        profile,
        format=served.get("format", profile.format),
        limits={**profile.limits, **served.get("limits", {})},
    )


def provider_of(host_name: str) -> str:
    """Whose models a host's name stands for: "google" for "gemini"; its own name by default."""
    served = table()["hosts"].get(host_name, {})
    return str(served.get("of", host_name))


def _dollars(model: Table) -> Dollars | None:
    if model.get("input") is None:
        return None
    cliff = model.get("cliff")
    cliffs = () if cliff is None else ((int(cliff[0]), float(cliff[1])),)
    return Dollars(model["input"], model.get("output"), cliffs)


def _cache(model: Table) -> CacheRule | None:
    """The cache's rule, with the prices of the model as shares of its input's."""
    price, cached, name = model.get("input"), model.get("cached"), model.get("cache")
    if not price or cached is None or name is None:
        return None
    rules = table()["caches"]
    if name not in rules:
        raise NotFoundError(f"no cache rule is called {name!r}: use one of {', '.join(rules)}")
    rule = {key: value for key, value in rules[name].items() if key != "sources"}
    write = model.get("write")
    shares = {"read": cached / price, "write": 1.0 if write is None else write / price}
    return CacheRule(**rule, **shares)
