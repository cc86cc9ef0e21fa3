"""Keras 3: after this import the constraints are ``kernel_constraint=`` as they are.

Importing it registers the classes of this library with Keras, those of
``array_constraints.register`` too, makes variables of Keras known as arrays, and wraps
``keras.Layer.add_weight``, which is where the layer of a variable is known: to resolve
``axis="incoming"``, and to judge the axis, of these constraints only.
"""

try:
    import keras as _keras
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    raise ModuleNotFoundError(
        "array_constraints.integrations.keras needs Keras 3, and a backend: pip install keras",
        name="keras",
    ) from None
if not hasattr(_keras, "Variable"):
    raise ImportError(
        f"array_constraints.integrations.keras needs Keras 3, and this is {_keras.__version__}"
    )

from array_constraints.integrations.keras import names, variables
from array_constraints.integrations.keras.attaching import Constrained, constrain
from array_constraints.integrations.keras.converting import convert

names.register_with_keras()
variables.make_known()

__all__ = ["Constrained", "constrain", "convert"]
