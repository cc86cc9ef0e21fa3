"""A constraint on trial: the subject, its calls, observations, and the cases it faces."""

from array_constraints_conformance.trial.calls import Calls
from array_constraints_conformance.trial.observation import Observation
from array_constraints_conformance.trial.profiles import PROFILES, Profile
from array_constraints_conformance.trial.subject import Subject
from array_constraints_conformance.trial.trial import Trial

__all__ = ["PROFILES", "Calls", "Observation", "Profile", "Subject", "Trial"]
