"""Runs: a plan of what is judged, the results of its tasks, known gaps among them."""

from array_constraints_conformance.runner.judgement import judge, judged, run
from array_constraints_conformance.runner.plan import MODULE, Plan, WrongPlan
from array_constraints_conformance.runner.results import Result

__all__ = ["MODULE", "Plan", "Result", "WrongPlan", "judge", "judged", "run"]
