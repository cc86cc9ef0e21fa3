"""The commands of the first hour print what was read and kept."""

from __future__ import annotations

import first_hour
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")


def test_each_command_prints_what_was_kept(tmp_path):
    pytest.importorskip("torch")
    first_hour.make_models(tmp_path)
    kept = first_hour.SESSION.read_text("utf-8")
    assert len(list(first_hour.commands())) >= 30
    assert "\n".join(first_hour.session(tmp_path)) == kept
