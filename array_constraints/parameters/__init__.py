"""Parameters of constraints: judged once, as plain numbers, as strict JSON and back."""

from array_constraints.parameters.json_values import (
    from_json,
    judge_depth,
    number_from_text,
    to_json,
    tuples_restored,
)
from array_constraints.parameters.judging import (
    INCOMING,
    axes_of,
    axis,
    choice,
    finite,
    judge_order,
    normalized_axes,
    number,
    number_of_slices,
    number_or_numbers,
    numbers_of_part,
    pair_of_axes,
    truth_value,
    whole_number,
)

__all__ = [
    "INCOMING",
    "axes_of",
    "axis",
    "choice",
    "finite",
    "from_json",
    "judge_depth",
    "judge_order",
    "normalized_axes",
    "number",
    "number_from_text",
    "number_of_slices",
    "number_or_numbers",
    "numbers_of_part",
    "pair_of_axes",
    "to_json",
    "truth_value",
    "tuples_restored",
    "whole_number",
]
