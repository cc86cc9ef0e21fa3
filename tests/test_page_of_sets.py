"""The page of the sets has all of them; its words and pictures are what constraints do."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from array_constraints import Elementwise, Slicewise, WholeSlice
from array_constraints.config import BUILT_IN, class_named
from array_constraints.config.built_in import ALIASES
from array_constraints.config.dialects import snake

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/sets.md").read_text("utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs/examples/sets.py"))
SETS, POINTS, PLANE = SCRIPT["SETS"], SCRIPT["points"](), SCRIPT["Plane"]
MADE_OF_OTHERS = SCRIPT["MADE_OF_OTHERS"]
IN_THE_PLANE = [name for name, (_, picture) in SETS.items() if isinstance(picture, PLANE)]
READS = {Elementwise: "1", Slicewise: "2", WholeSlice: "1"}
IN_ROUNDS = {"Simplex": "3 to 7", "L1Ball": "3 to 7", "Sparse": "3 or 4"}
"""Measured by tests/test_thresholds.py, and of files by tests/files/test_rounds.py, of
tests/files/test_sparse.py."""
TOLERANCE = 1e-9


class Row(NamedTuple):
    picture: str
    name: str
    allowed: str
    other_names: str
    nearest: str
    convex: str
    reads: str


def rows_of(page: str) -> dict[str, Row]:
    """Return the rows of the table by the class that they name, without notes."""
    page = page.partition("## Made of others")[0]
    lines = [line for line in page.splitlines() if line.startswith("| ![")]
    cells = (re.sub(r" \[\^\w+\]", "", line).strip("| ").split(" | ") for line in lines)
    rows = [Row(*map(str.strip, row)) for row in cells]
    return {re.sub(r"\[(\w+)\].*", r"\1", row.name): row for row in rows}


ROWS = rows_of(PAGE)


def in_slices(name: str) -> np.ndarray:
    """Return weights of the kind that is drawn: many slices, or many entries."""
    picture, rng = SETS[name][1], np.random.default_rng(0)
    shape = (2, 400) if isinstance(picture, PLANE) else picture.shape
    return rng.uniform(-3, 3, shape)


def distances(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how far from each other slices are, or whole matrices."""
    return np.sqrt(((a - b) ** 2).sum(axis=0 if name in IN_THE_PLANE else None))


def test_every_set_has_a_row_and_a_picture():
    assert list(ROWS) == list(SETS)
    assert set(SETS) | set(MADE_OF_OTHERS) == set(BUILT_IN) - {"Constraint"}
    drawn = {path.stem for path in (ROOT / "docs/sets").iterdir()}
    assert drawn == set(SETS) | set(MADE_OF_OTHERS)


def test_the_pictures_are_what_the_script_draws(tmp_path):
    SCRIPT["main"](tmp_path)
    for path in tmp_path.iterdir():
        stored = (ROOT / "docs/sets" / path.name).read_text("utf-8")
        assert path.read_text("utf-8") == stored, "python docs/examples/sets.py docs/sets"


@pytest.mark.parametrize("name", SETS)
class TestARow:
    def test_shows_its_picture_and_its_entry_of_the_reference(self, name):
        assert type(SETS[name][0]) is BUILT_IN[name]
        assert re.fullmatch(rf"!\[.+\]\(sets/{name}\.svg\)", ROWS[name].picture)
        assert ROWS[name].name == f"[{name}](#array_constraints.{name})"
        entries = (ROOT / "docs/reference.md").read_text("utf-8")
        assert f"autoclass:: array_constraints.{name}\n" in entries
        assert "$" in ROWS[name].allowed

    def test_names_what_get_takes(self, name):
        code = set(re.findall(r"`(\w+)`", ROWS[name].other_names))
        assert code == {snake(alias) for alias in ALIASES.get(name, ())}
        assert {class_named(word) for word in code} <= {BUILT_IN[name]}

    def test_says_how_often_a_file_is_read(self, name):
        cls = BUILT_IN[name]
        (reads,) = (n for form, n in READS.items() if issubclass(cls, form))
        in_rounds = issubclass(cls, Slicewise) and cls.rounds > 1
        assert ROWS[name].reads == (IN_ROUNDS[name] if in_rounds else reads)

    def test_says_whether_results_are_nearest_points(self, name):
        constraint, w = SETS[name][0], in_slices(name)
        near, rng = constraint(w), np.random.default_rng(1)
        trials = [near + s * rng.standard_normal(w.shape) for s in (0.01, 0.1, 1) * 20]
        gains = [
            distances(name, w, near) - distances(name, w, constraint(trial)) for trial in trials
        ]
        assert ROWS[name].nearest in ("the", "a", "no")
        assert (np.max(gains) <= TOLERANCE) == (ROWS[name].nearest != "no")

    def test_says_whether_the_set_is_convex(self, name):
        constraint, w = SETS[name][0], in_slices(name)
        between = (constraint(w) + constraint(-w[::-1, ::-1])) / 2
        convex = {"yes": True, "no": False}[ROWS[name].convex]
        assert (np.max(constraint.violation(between)) <= TOLERANCE) == convex
        assert (ROWS[name].nearest == "the") == (convex and ROWS[name].nearest != "no")

    def test_changes_nothing_the_second_time(self, name):
        constraint = SETS[name][0]
        once = constraint(in_slices(name))
        np.testing.assert_array_equal(constraint(once), once, strict=True)


class TestWhatIsMadeOfOthers:
    def test_has_a_row_with_its_picture_and_its_entry_of_the_reference(self):
        lines = PAGE.partition("## Made of others")[2].splitlines()
        rows = [line.split(" | ") for line in lines if line.startswith("| ![")]
        entries = (ROOT / "docs/reference.md").read_text("utf-8")
        for (picture, named, *_), name in zip(rows, MADE_OF_OTHERS, strict=True):
            assert re.fullmatch(rf"\| !\[.+\]\(sets/{name}\.svg\)", picture)
            assert named == f"[{name}](#array_constraints.{name})"
            assert type(MADE_OF_OTHERS[name][0]) is BUILT_IN[name]
            assert f"autoclass:: array_constraints.{name}\n" in entries

    def test_the_chain_that_is_drawn_goes_to_the_nearest_point(self):
        chain, picture = MADE_OF_OTHERS["Chain"]
        corners = np.asarray(picture.outlines[0])
        assert np.max(chain.violation(corners.T)) <= TOLERANCE
        after = chain(POINTS)
        assert np.max(chain.violation(after)) <= TOLERANCE
        for corner in corners:  # no corner of what is allowed is on the far side
            across = ((POINTS - after) * (corner[:, None] - after)).sum(axis=0)
            assert np.max(across) <= 1e-9

    def test_points_are_drawn_half_of_the_way(self):
        relaxed, _ = MADE_OF_OTHERS["Relaxed"]
        middle = (POINTS + relaxed.constraint(POINTS)) / 2
        np.testing.assert_allclose(relaxed(POINTS), middle, rtol=1e-15)

    def test_each_block_is_drawn_as_it_would_be_alone(self):
        blocks, picture = MADE_OF_OTHERS["Blocks"]
        w = SCRIPT["weight"](picture.shape)
        np.testing.assert_array_equal(
            blocks(w), np.hstack([np.tril(x) for x in (w[:, :4], w[:, 4:])])
        )


class TestPicturesInThePlane:
    @pytest.mark.parametrize("name", IN_THE_PLANE)
    def test_outline_what_is_allowed(self, name):
        constraint, picture = SETS[name]
        corners = np.asarray([p for outline in picture.outlines for p in outline]).T
        assert np.max(constraint.violation(corners)) <= TOLERANCE

    @pytest.mark.parametrize("name", IN_THE_PLANE)
    def test_move_points_to_the_outline(self, name):
        constraint, picture = SETS[name]
        after = constraint(POINTS)
        moved = (after != POINTS).any(axis=0)
        assert moved.any()
        sides = [side for outline in picture.outlines for side in sides_of(outline)]
        for point in after.T[moved]:
            assert min(distance(point, *side) for side in sides) < 2e-3  # corners of a circle

    def test_draw_lines_and_areas_across_a_normal(self):
        for kind in ("hyperplane", "halfspace"):
            ((a, b, *rest),) = SCRIPT[kind]((3.0, 4.0), 2.5).outlines
            np.testing.assert_allclose(np.asarray([a, b]) @ [3.0, 4.0], 2.5)
            np.testing.assert_allclose(np.add(a, b) / 2, [0.3, 0.4])
            assert np.linalg.norm(np.subtract(a, b)) > 10
            assert (np.reshape(rest, (-1, 2)) @ [3.0, 4.0] < -40).all()

    def test_draw_simplexes_and_balls_of_magnitudes(self):
        for kind, sums in (("simplex", [1.5, 1.5]), ("l1_ball", [1.5, 1.5, -1.5, -1.5])):
            (corners,) = SCRIPT[kind](1.5).outlines
            np.testing.assert_array_equal(np.sum(corners, axis=1), sums)
            np.testing.assert_array_equal(np.abs(corners).max(axis=1), 1.5)

    def test_draw_single_points(self):
        drawn = SCRIPT["single"]((1.0, -1.0), (-1.0, 1.0)).drawn(lambda w: w)
        assert drawn.count('r="5"') == 2
        assert 'cx="86.0" cy="86.0" r="5"' in drawn


def sides_of(outline: tuple) -> list[tuple]:
    return list(zip(outline, (*outline[1:], outline[0]), strict=True))


def distance(point: np.ndarray, start: tuple, end: tuple) -> float:
    """Return how far a point is from the straight line between two others."""
    along = np.subtract(end, start)
    square = along @ along
    share = np.clip((point - start) @ along / square, 0, 1) if square else 0.0
    return float(np.linalg.norm(point - start - share * along))
