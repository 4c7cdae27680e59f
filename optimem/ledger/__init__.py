"""The ledger: what a process knows of a session's turns and pages, and what they cost."""

from optimem.ledger.costs import Ledger

__all__ = ["Ledger"]
