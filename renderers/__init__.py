"""Renderers: turns are laid out on pages, and pages drawn at every size."""

from optimem.renderers.flow import Flow, flow_text, flow_turn
from optimem.renderers.layout import PageBuilder, PageStyle
from optimem.renderers.normal import normalise
from optimem.renderers.parse import parse_pages

__all__ = [
    "Flow",
    "PageBuilder",
    "PageStyle",
    "flow_text",
    "flow_turn",
    "normalise",
    "parse_pages",
]
