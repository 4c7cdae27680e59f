"""Policies: pure functions from pages, a budget and the past plan to a tier for each page."""

from optimem.policies.budget import TokenBudget, smallest_budget
from optimem.policies.decay import AgeDecay, Ladder
from optimem.policies.epochs import Epochs
from optimem.policies.policy import Candidate, Frontier, Policy, Situation

__all__ = [
    "AgeDecay",
    "Candidate",
    "Epochs",
    "Frontier",
    "Ladder",
    "Policy",
    "Situation",
    "TokenBudget",
    "smallest_budget",
]
