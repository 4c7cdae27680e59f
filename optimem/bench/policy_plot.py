"""A plot of bills and evidence: a panel for each reader, a point for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from math import log10

_WIDTH, _HEIGHT, _LEFT, _TOP = 420, 300, 60, 40
_BILLS = (5, 10, 20, 50, 100, 200, 500, 1000)  # percent of full text's
_EVIDENCE = (60, 70, 80, 90, 100)
_COLOURS = ("#888888", "#b07aa1", "#edc948", "#4e79a7", "#76b7b2", "#e15759", "#f28e2b")

Figures = Mapping[str, Mapping[str, float]]
"""By row: at least `dollars` and `evidence_percent`."""


def plot(readers: Mapping[str, Figures], full: str = "full text") -> str:
    """Evidence over the bill, as a share of cached full text's, as SVG.

    Args:
        readers: the rows of each reader.
        full: the row that bills are shares of.
    """
    columns = 2
    lines = -(-len(readers) // columns)
    width, height = columns * (_WIDTH + _LEFT) + 30, lines * (_HEIGHT + 2 * _TOP) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (reader, rows) in enumerate(readers.items()):
        left = _LEFT + number % columns * (_WIDTH + _LEFT)
        top = _TOP + number // columns * (_HEIGHT + 2 * _TOP)
        parts += _panel(reader, rows, full, left, top)
    return "\n".join([*parts, "</svg>", ""])


def _panel(reader: str, rows: Figures, full: str, left: int, top: int) -> Iterator[str]:
    def across(bill: float) -> float:
        low, high = log10(_BILLS[0]), log10(_BILLS[-1])
        share = (log10(max(bill, _BILLS[0])) - low) / (high - low)
        return left + min(share, 1.0) * _WIDTH

    def up(evidence: float) -> float:
        low, high = _EVIDENCE[0], _EVIDENCE[-1]
        return top + _HEIGHT - max(evidence - low, 0) / (high - low) * _HEIGHT

    yield f'<text x="{left}" y="{top - 14}" font-weight="bold">{escape(reader)}</text>'
    for share in _BILLS:
        x = across(share)
        yield f'<path d="M{x:.1f} {top}v{_HEIGHT}" stroke="#e4e4e4"/>'
        yield f'<text x="{x:.1f}" y="{top + _HEIGHT + 16}" text-anchor="middle">{share} %</text>'
    for evidence in _EVIDENCE:
        y = up(evidence)
        yield f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#e4e4e4"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{evidence} %</text>'
    for colour, (name, figures) in zip(_COLOURS, rows.items(), strict=False):
        bill = 100 * figures["dollars"] / rows[full]["dollars"]
        x, y = across(bill), up(figures["evidence_percent"])
        anchor, shift = ("end", -8) if x > left + _WIDTH / 2 else ("start", 8)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        place = f'x="{x + shift:.1f}" y="{y - 6:.1f}" text-anchor="{anchor}"'
        yield f"<text {place}>{escape(name)}</text>"
