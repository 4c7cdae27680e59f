"""Policies: pure functions from pages, a budget and the past plan to a tier for each page."""

from optimem.policies.budget import TokenBudget, smallest_budget
from optimem.policies.candidates import Age, Candidate, Frontier, Remark
from optimem.policies.decay import AgeDecay, Ladder
from optimem.policies.epochs import Epochs
from optimem.policies.pinned import Pinned
from optimem.policies.policy import Cache, Policy, Situation
from optimem.policies.rehearsal import Rehearsal
from optimem.policies.salience import Salience
from optimem.policies.value import BestValue

__all__ = [
    "Age",
    "AgeDecay",
    "BestValue",
    "Cache",
    "Candidate",
    "Epochs",
    "Frontier",
    "Ladder",
    "Pinned",
    "Policy",
    "Rehearsal",
    "Remark",
    "Salience",
    "Situation",
    "TokenBudget",
    "smallest_budget",
]
