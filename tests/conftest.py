import gc
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "numpy")

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from libraries import LIBRARIES, Library

# JAX compiles for each shape: the time of an example says nothing about a law.
settings.register_profile(
    "laws",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("laws")


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not among what is there for good: a tenth of the time.

    JAX and Hypothesis are called back each time, and what they trace and draw is much.
    """
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for doctests in no script of these folders: some give JAX float64 and devices."""
    script = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if script else None


@pytest.fixture(params=LIBRARIES, ids=str)
def library(request: pytest.FixtureRequest) -> Iterator[Library]:
    with request.param.active() as library:
        yield library
