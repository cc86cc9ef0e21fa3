"""A run: its plan, the judgement of each task, the results, known gaps among them."""

from array_constraints_conformance.runner.judgement import judge, run
from array_constraints_conformance.runner.plan import MODULE, Plan, WrongPlan
from array_constraints_conformance.runner.results import Result

__all__ = ["MODULE", "Plan", "Result", "WrongPlan", "judge", "run"]
