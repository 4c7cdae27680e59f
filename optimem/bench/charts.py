"""Small charts as SVG: lines over an axis, and the tiers of pages as strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimem.modes import Tier
from optimem.values import Plan

_COLORS = ("#1668b8", "#b84a16", "#6b6b6b", "#2e7d32")
_TIERS = {
    Tier.TEXT: "#111111",
    Tier.GUNDAM: "#0d3b66",
    Tier.LARGE: "#1668b8",
    Tier.BASE: "#4d94d6",
    Tier.PX896: "#6aa6de",
    Tier.PX768: "#7fb3e3",
    Tier.SMALL: "#9cc6ec",
    Tier.TINY: "#cfe3f6",
    Tier.FORGOTTEN: "#ffffff",
}
_WIDTH, _LEFT, _TOP = 640, 100, 16


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points."""

    name: str
    points: Sequence[tuple[float, float]]


def lines(drawn: Sequence[Line], said: str, ticks: Sequence[tuple[float, str]], most: float) -> str:
    """Lines in steps, over an axis from the first tick to the last one, from 0 up to `most`."""
    height, bottom = 280, 244
    first, last = ticks[0][0], ticks[-1][0]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / max(last - first, 1e-9)
        return 50 + across * (_WIDTH - 70), bottom - y / most * (bottom - _TOP)

    parts = []
    for share in range(5):
        _, y = place(first, most * share / 4)
        parts.append(f'<path d="M50 {y:.0f}H{_WIDTH - 20}" stroke="#ddd"/>')
        parts.append(_text(46, y + 4, f"{most * share / 4:,.0f}", "end"))
    for at, label in ticks:
        parts.append(_text(place(at, 0)[0], bottom + 16, label, "middle"))
    parts.append(_text(50, height - 4, said))
    for number, (line, color) in enumerate(zip(drawn, _COLORS, strict=False)):
        path, before = [], None
        for x, y in (place(*point) for point in line.points):
            path.append(f"M{x:.1f} {y:.1f}" if before is None else f"H{x:.1f}V{y:.1f}")
            before = x
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(_text(_WIDTH - 24, _TOP + 14 + 16 * number, line.name, "end", color))
    return _svg(height, parts)


def strips(plans: Mapping[str, Plan], pages: int, said: str) -> str:
    """A row for each plan, a cell for each page in the color of its tier."""
    cell = (_WIDTH - _LEFT - 10) / max(pages, 1)
    parts, used = [], set()
    for row, (name, plan) in enumerate(plans.items()):
        top = _TOP + 32 * row
        parts.append(_text(_LEFT - 8, top + 17, name, "end"))
        noted = {kept.last for kept in plan.kept if plan.shows(kept)}
        for page in range(pages):
            tier = plan.tier(page)
            used.add(tier)
            left = _LEFT + page * cell
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{cell - 1:.1f}" height="24"'
                f' fill="{_TIERS[tier]}" stroke="#bbb"/>'
            )
            if page in noted:
                parts.append(f'<circle cx="{left + cell / 2:.1f}" cy="{top + 12}" r="3"/>')
    bottom = _TOP + 32 * len(plans)
    apart = min(85, (_WIDTH - _LEFT) // max(len(used), 1))
    for number, tier in enumerate(sorted(used)):
        left = _LEFT + number * apart
        parts.append(
            f'<rect x="{left}" y="{bottom + 4}" width="12" height="12" fill="{_TIERS[tier]}"'
            ' stroke="#bbb"/>'
        )
        parts.append(_text(left + 17, bottom + 14, tier.label))
    parts.append(_text(_LEFT, bottom + 34, said))
    return _svg(bottom + 42, parts)


def _text(x: float, y: float, said: str, anchor: str = "start", color: str = "#000") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{color}">{said}</text>'


def _svg(height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12">'
    )
    paper = f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])
