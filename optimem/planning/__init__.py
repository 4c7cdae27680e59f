"""From a session to what a reader is shown: situation, plan, segments, context."""

from optimem.planning.assembly import ContextBuilder

__all__ = ["ContextBuilder"]
