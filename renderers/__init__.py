"""Renderers: turns are laid out on pages, and pages drawn at every size."""

from optimem.renderers.layout import Flow, PageBuilder, PageStyle, flow_text, flow_turn, unflow

__all__ = ["Flow", "PageBuilder", "PageStyle", "flow_text", "flow_turn", "unflow"]
