"""Forms state the mathematics of a constraint, and nothing of how it is run.

The four forms are there to be subclassed, best by a frozen dataclass: its fields are the
config; equality, hash, repr and pickle follow, and JAX compiles it once.
"""

from array_constraints.forms.elementwise import Elementwise
from array_constraints.forms.form import Form
from array_constraints.forms.slicewise import Measuring, Rescaling, Sizing, Slicewise
from array_constraints.forms.whole_slice import WholeSlice

__all__ = ["Elementwise", "Form", "Measuring", "Rescaling", "Sizing", "Slicewise", "WholeSlice"]
