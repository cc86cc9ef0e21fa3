"""The constraints in the configuration of a saved Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from array_constraints.constraint import Constraint

if TYPE_CHECKING:
    from pathlib import Path


def read_constraints(
    path: str | Path, custom_objects: Mapping[str, type[Constraint]] | None = None
) -> dict[str, Constraint]:
    """Return the constraints in a saved Keras model, by layer and argument, without Keras.

    Only the configuration of the model is read: no weights, and no code is run.

    Parameters
    ----------
    path
        A ``.keras`` archive of Keras 3; a ``.json`` text, which ``model.to_json`` of any
        version of Keras or TensorFlow.js wrote; or an HDF5 file, ``.h5``, ``.hdf5`` or an old
        ``.keras``, which takes h5py.
    custom_objects
        Classes by the names that the file has for them, as :func:`deserialize` takes them.

    Returns
    -------
    dict
        Each constraint by its path, in the order of the file; what is not constrained is not
        in it. A path is the names of the layers that lie in each other, from the outermost
        one, then the argument as the file calls it, with slashes between:
        ``"bidirectional/forward_lstm/kernel_constraint"``. The name of the whole model is left
        out. Nested models, wrappers and stacks of cells are layers like others. A layer
        without a name is called as its class is, in snake case. Where a layer keeps
        constraints in lists or dictionaries, their places are named, too:
        ``"mine/constraints/0"``.

    Raises
    ------
    ValueError
        If a constraint is a function or of an unknown class, of which the message says where
        it is; if two layers have one path; if the file is damaged or holds no model; if its
        configuration is not UTF-8, is longer than 32 MiB, has a key twice, or is nested more
        than 64 levels deep.
    TypeError
        If the parameters of a constraint are not those of its class.
    ImportError
        If the file is HDF5 and h5py is not installed.

    Notes
    -----
    An argument is what is called ``constraint`` or ``constraints``, or ends in ``_constraint``
    or ``_constraints``. Where it holds a number or a truth value, it is an option of a layer
    and left out. A config of a known constraint is found under any other name, too.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> from array_constraints import MaxNorm, serialize
    >>> from array_constraints.config import read_constraints
    >>> options = {"name": "head", "kernel_constraint": serialize(MaxNorm(2.0))}
    >>> layers = [{"class_name": "Dense", "config": options}]
    >>> model = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.json")
    ...     size = path.write_text(json.dumps(model), encoding="utf-8")
    ...     read_constraints(path)
    {'head/kernel_constraint': MaxNorm(max_value=2.0, axis=0)}
    """
    # Imported here: they take what `import array_constraints` does without.
    from array_constraints.config import model_files, model_layers

    return model_layers.constraints_in(model_files.model_in(path), path, custom_objects)
