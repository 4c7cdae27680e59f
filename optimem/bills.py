"""Learning from bills: what a provider took for images, beside what its rule says.

    reply = client.chat.completions.create(model=…, **context.request())
    memory.observe(reply.usage)

A bill is one sum of text and images, and the text is counted with a vocabulary that may not be
the model's. So both are fitted: the text's rate is believed to be within a tenth of its own,
the images' to be anything, and the images' price is corrected when what the bills say is more
than two standard deviations away from it. Bills that the newest one contradicts are of other
prices, and are left out.

The figures stay with the session. Where the user keeps a file of readers (`$OPTIMEM_READERS`),
a corrected price goes there too, and other sessions with that model and host begin with it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

from optimem.errors import InputError, OptiMemError
from optimem.readers import Profile, find_reader
from optimem.readers.own import read_row, write_row
from optimem.stores import Store
from optimem.values import Scope, Segment, dump_json

_KEPT = 8  # bills; older ones may be of other prices
_NOISE = 0.01  # of a bill: what varies from request to request
_TEXT, _IMAGES = 0.1, 2.0  # how far the rates of text and of images may be from 1
_DRIFT = 0.03  # smaller ones are left alone: each correction makes a new plan
_CHANGE = 0.05  # of a bill that earlier ones do not explain: the price is another one since

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """The input that a provider billed.

    Attributes:
        tokens: all of it, cached or not.
        images: the part that was images, where the provider says so.
    """

    tokens: int
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one bill said.

    Attributes:
        reader: whose it is.
        billed: input tokens.
        expected: what the context was counted as.
        images: how many images it had.
        factor: billed image tokens for each one of the rule, as it is counted from now on.
        drifted: whether this bill changed the factor.
    """

    reader: str
    billed: int
    expected: int
    images: int
    factor: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class _Bill:
    """One request: its text and images by the rule, and what was billed of them."""

    text: int
    images: float
    billed: int
    billed_images: int | None


def read_usage(usage: object) -> Usage:
    """The billed input of a client's reply, or of its `usage`.

    Raises:
        InputError: nothing in it says how many input tokens were billed.
    """
    for inner in ("usage", "usage_metadata", "usageMetadata"):
        found = _get(usage, inner)
        usage = usage if found is None else found
    for name in ("prompt_token_count", "promptTokenCount", "prompt_tokens", "input_tokens"):
        tokens = _get(usage, name)
        if isinstance(tokens, int):
            break
    else:
        raise InputError("this says nothing of input tokens: pass the client's reply, or its usage")
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens")  # Anthropic's, apart
    tokens += sum(_get(usage, name) or 0 for name in cached) if name == "input_tokens" else 0
    return Usage(tokens, _image_tokens(usage))


def _image_tokens(usage: object) -> int | None:
    for name in ("prompt_tokens_details", "promptTokensDetails", "input_tokens_details"):
        details = _get(usage, name)
        if isinstance(details, (list, tuple)):  # Gemini's: one entry a modality
            counts = [
                _get(each, "token_count") or _get(each, "tokenCount") or 0
                for each in details
                if getattr(_get(each, "modality"), "value", _get(each, "modality")) == "IMAGE"
            ]
            return sum(counts) if counts else None
        tokens = _get(details, "image_tokens")
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


def corrected(store: Store, scope: Scope, profile: Profile) -> Profile:
    """The profile with the price of images that its bills have shown."""
    stored = store.blob(scope, _key(profile))
    factor = None if stored is None else json.loads(stored)["factor"]
    return profile if factor is None else replace(profile, image_factor=float(factor))


def observe(
    store: Store, scope: Scope, profile: Profile, segments: Sequence[Segment], tokens: int,
    usage: Usage,
) -> Observation:  # fmt: skip
    """Compare a bill with what a context was counted as, and keep what it says of images.

    Args:
        store: where the session is.
        scope: whose it is.
        profile: the reader's, as the context had it.
        segments: of the context.
        tokens: what the context was counted as.
        usage: what was billed.
    """
    images = [segment for segment in segments if segment.is_image]
    counted = sum(segment.tokens for segment in images)
    rule = counted / profile.image_factor
    text = max(tokens - counted, 0)
    stored = store.blob(scope, _key(profile))
    kept = {} if stored is None else json.loads(stored)
    earlier = [_Bill(*row) for row in kept.get("bills", ())]
    bill = _Bill(text, rule, usage.tokens, usage.images)
    bills = [*(earlier if _explain(earlier, bill) else ()), bill][-_KEPT:]
    learned: float | None = kept.get("factor")
    factor = profile.image_factor if learned is None else learned
    _, found, deviation = _rates(bills)
    off = abs(found - factor)
    drifted = bool(images) and off > max(2 * deviation, _DRIFT * factor)
    if drifted:
        _logger.warning(
            "%s billed %.2f image tokens for each one of its rule, where %.2f were expected:"
            " counted so from now on",
            *(profile.name, found, factor),
        )
        factor = learned = round(found, 3)
        _tell_others(profile, factor)
    rows = [[bill.text, bill.images, bill.billed, bill.billed_images] for bill in bills]
    store.drop_blobs(scope, [_key(profile)])
    store.put_blob(scope, _key(profile), dump_json({"factor": learned, "bills": rows}).encode())
    return Observation(profile.name, usage.tokens, tokens, len(images), factor, drifted)


def _tell_others(profile: Profile, factor: float) -> None:
    """Put a corrected price where other sessions find it, if the user has such a place."""
    path = os.environ.get("OPTIMEM_READERS")
    if not path:
        return
    try:
        listed = find_reader(profile.name)
        if (listed.rule, listed.parameters) != (profile.rule, profile.parameters):
            return  # a profile of the caller's own, that has its name from another
        row = {"like": profile.name, **read_row(Path(path), profile.name)}
        write_row(Path(path), profile.name, {**row, "image_factor": factor})
    except OptiMemError as error:
        _logger.warning("the corrected price stays with this session: %s", error)


def _explain(earlier: Sequence[_Bill], bill: _Bill) -> bool:
    """Whether a bill is of the same prices as earlier ones."""
    text_rate, image_rate, _ = _rates(earlier)
    off = abs(text_rate * bill.text + image_rate * bill.images - bill.billed)
    return not earlier or off <= _CHANGE * max(bill.billed, 1)


def _rates(bills: Sequence[_Bill]) -> tuple[float, float, float]:
    """Billed tokens for each one of the rule, of text and of images; the latter's deviation.

    The least squares of two rates, with what is believed of both: the normal equations are
    two by two.
    """
    aa, ab, bb = _TEXT**-2, 0.0, _IMAGES**-2
    ay, by = aa, bb
    for bill in bills:
        weight = (_NOISE * max(bill.billed, 1)) ** -2
        text, images, billed = bill.text, bill.images, bill.billed
        if bill.billed_images is not None:
            bb += weight * images * images
            by += weight * images * bill.billed_images
            images, billed = 0.0, billed - bill.billed_images
        aa += weight * text * text
        ab += weight * text * images
        bb += weight * images * images
        ay += weight * text * billed
        by += weight * images * billed
    determinant = aa * bb - ab * ab
    text_rate, image_rate = (bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant
    return text_rate, image_rate, sqrt(aa / determinant)


def _key(profile: Profile) -> str:
    return f"bills/{profile.name}"


def _get(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
