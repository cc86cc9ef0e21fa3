"""Rules: which constraint for which weight, in files, models and named arrays alike."""

from array_constraints.rules.explanation import Explanation
from array_constraints.rules.reading import constraint_of, read_rules
from array_constraints.rules.rule import OPTIONS, Rule, matches_any, meant_by
from array_constraints.rules.rules import ConstraintLike, Rules, RulesLike, as_rules
from array_constraints.rules.selection import Selection, warn_of_axes

__all__ = [
    "OPTIONS",
    "ConstraintLike",
    "Explanation",
    "Rule",
    "Rules",
    "RulesLike",
    "Selection",
    "as_rules",
    "constraint_of",
    "matches_any",
    "meant_by",
    "read_rules",
    "warn_of_axes",
]
