"""What is known of a reader, as plain values: for `optimem readers` and for documents."""

from __future__ import annotations

from dataclasses import asdict

from optimem.readers.profile import Profile
from optimem.values import Json


def describe(profile: Profile) -> dict[str, Json]:
    """All of a profile that can be printed, what a page costs in each mode first."""
    dollars, cache = profile.dollars, profile.cache
    price = None if dollars is None else dollars.input
    cached = None if price is None or cache is None else round(price * cache.read, 6)
    write = None if price is None or cache is None else round(price * cache.write, 6)
    return {
        "name": profile.name,
        "window": profile.window,
        "input_price": price,
        "cached_price": cached,
        "write_price": write,
        "output_price": None if dollars is None else dollars.output,
        "cliffs": {} if dollars is None else {str(at): times for at, times in dollars.cliffs},
        "pages": {tier.label: profile.page_cost(tier) for tier in profile.modes},
        "sizes": {tier.label: _size(profile.page_image(tier).seen) for tier in profile.modes},
        "detail": {tier.label: level for tier, level in profile.modes.items() if level},
        "cache": {} if cache is None else _finite(asdict(cache)),
        "limits": {**profile.limits, "our_request_bytes": profile.request_bytes},
        "images_in": list(profile.image_roles),
        "formats": list(profile.image_formats),
        "fidelity": {tier.label: share for tier, share in profile.fidelity.items()},
        "request": profile.format,
        "text_factor": profile.text_factor,
        "guessed_from": profile.guessed_from,
        "note": profile.note,
        "sources": list(profile.sources),
    }


def _size(seen: tuple[int, int]) -> str:
    return f"{seen[0]}x{seen[1]}"


def _finite(values: dict[str, Json]) -> dict[str, Json]:
    """Without what JSON has no number for."""
    return {key: None if value == float("inf") else value for key, value in values.items()}
