"""Links in folders of shards, and the small files beside the weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import first_hour
import numpy as np
import pytest
from click.testing import CliRunner

from array_constraints import MaxNorm
from array_constraints.cli import main
from array_constraints.files import check_file, open_weights, project_file

RULES = [("*_proj.weight", MaxNorm(1.0, axis=1))]
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def snapshot(tmp_path) -> Path:
    first_hour.make_llama_in_a_cache(tmp_path)
    return tmp_path / first_hour.SNAPSHOT


def test_a_cache_of_hugging_face_is_read_by_folder_and_by_index(snapshot, tmp_path):
    index = snapshot / "model.safetensors.index.json"
    for path in (snapshot, index):
        assert len(check_file(path, RULES).tensors) == 12
        with open_weights(path) as source:
            assert len(source.tensors) == len(first_hour.LLAMA) + 1


def test_what_is_made_of_it_is_files_and_is_loaded_by_name(snapshot, tmp_path):
    from safetensors.numpy import load_file

    assert project_file(snapshot, tmp_path / "out", RULES).satisfied
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {path.name for path in snapshot.iterdir()}
    for path in (tmp_path / "out").iterdir():
        assert path.is_file()
        assert not path.is_symlink()
        if path.suffix == ".json":
            assert path.read_bytes() == (snapshot / path.name).read_bytes()
    before, after = load_file(snapshot / SHARD), load_file(tmp_path / "out" / SHARD)
    assert before.keys() == after.keys()
    name = "model.layers.0.mlp.gate_proj.weight"
    assert np.linalg.norm(after[name].astype("f8"), axis=1).max() <= 1
    assert after["model.norm.weight" if "model.norm.weight" in after else name].dtype == "f4"


def link_to_elsewhere(snapshot: Path, name: str) -> Path:
    """Replace a file of a snapshot by a link out of the cache."""
    elsewhere = snapshot.parents[2] / "elsewhere"
    elsewhere.mkdir()
    content = (snapshot / name).read_bytes()
    (snapshot / name).unlink()
    (elsewhere / name).write_bytes(content)
    (snapshot / name).symlink_to(elsewhere / name)
    return elsewhere / name


@pytest.mark.parametrize("name", [SHARD, "tokenizer.json"])
def test_a_link_out_of_the_cache_is_refused_and_followed_if_trusted(name, snapshot, tmp_path):
    place = link_to_elsewhere(snapshot, name)
    with pytest.raises(ValueError, match=r"is a link out of the folder, to .*elsewhere"):
        project_file(snapshot, tmp_path / "out", RULES)
    if name == SHARD:
        with pytest.raises(ValueError, match=r"is a link out of the folder, to .*elsewhere"):
            check_file(snapshot, RULES)
    else:  # which copies nothing
        check_file(snapshot, RULES)
    assert not (tmp_path / "out").exists()
    assert project_file(snapshot, tmp_path / "out", RULES, follow_links=True).satisfied
    assert (tmp_path / "out" / name).is_file()
    assert not (tmp_path / "out" / name).is_symlink()
    if name == "tokenizer.json":
        assert (tmp_path / "out" / name).read_bytes() == place.read_bytes()


def test_the_command_line_says_which_flag_follows_it(snapshot):
    link_to_elsewhere(snapshot, SHARD)
    arguments = [str(snapshot), "--constraint", "max_norm", "--max-value", "9"]
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exit_code == 2
    assert "if you trust this one, follow it with --follow-links" in result.stderr
    assert CliRunner().invoke(main, ["check", *arguments, "--follow-links"]).exit_code == 0
    assert CliRunner().invoke(main, ["show", str(snapshot), "--follow-links"]).exit_code == 0


def test_an_index_that_is_named_takes_its_shards_alone(snapshot, tmp_path):
    project_file(snapshot / "model.safetensors.index.json", tmp_path / "out", RULES)
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_a_repository_of_a_cache_names_its_snapshots(snapshot):
    with pytest.raises(ValueError, match=r"a repository in a cache: name a snapshot, .*1f2e3d"):
        check_file(snapshot.parents[1], RULES)


@pytest.mark.parametrize(
    "folder", ["snapshots/1f2e3d", "models--a--b/other/1f2e3d", "models/snapshots/1f2e3d"]
)
def test_a_folder_that_only_looks_like_a_cache_is_none(folder, tmp_path):
    """The links of a cache lead from REPOSITORY/snapshots to blobs of the same repository."""
    from safetensors.numpy import save_file

    place = tmp_path / folder
    place.mkdir(parents=True)
    blobs = place.parents[1] / "blobs"
    blobs.mkdir(exist_ok=True)
    save_file({"w": np.ones((2, 2), "f4")}, blobs / "0a1b")
    (place / "model.safetensors").symlink_to(os.path.relpath(blobs / "0a1b", place))
    with pytest.raises(ValueError, match="is a link out of the folder"):
        check_file(place, MaxNorm(9.0))


class TestSmallFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        from safetensors.numpy import save_file

        folder = tmp_path / "in"
        folder.mkdir()
        save_file({"w": np.full((2, 2), 3.0, "f4")}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (folder / "vocab.txt").write_text("a\nb\n")
        (folder / ".gitattributes").write_text("hidden")
        (folder / "other.onnx").write_bytes(b"other weights")
        with (folder / "large.dat").open("wb") as file:
            file.truncate(2**26 + 1)
        return folder

    def test_are_copied_beside_one_file_of_weights(self, folder, tmp_path):
        assert project_file(folder, tmp_path / "out", MaxNorm(1.0)).satisfied
        made = {path.name for path in (tmp_path / "out").iterdir()}
        assert made == {"model.safetensors", "config.json", "vocab.txt"}
        assert (tmp_path / "out" / "vocab.txt").read_text() == "a\nb\n"
        assert check_file(tmp_path / "out", MaxNorm(1.0)).satisfied

    def test_stay_where_the_result_is_named_as_a_file(self, folder, tmp_path):
        project_file(folder, tmp_path / "out.safetensors", MaxNorm(1.0))
        assert (tmp_path / "out.safetensors").is_file()

    def test_are_replaced_with_the_weights_and_nothing_else_is(self, folder, tmp_path):
        out = tmp_path / "out"
        project_file(folder, out, MaxNorm(1.0))
        (folder / "vocab.txt").write_text("c\n")
        project_file(folder, out, MaxNorm(1.0), overwrite=True)
        assert (out / "vocab.txt").read_text() == "c\n"
        (out / "README.md").write_text("by hand")
        with pytest.raises(FileExistsError, match=r"holds README\.md, which the result would"):
            project_file(folder, out, MaxNorm(1.0), overwrite=True)
        assert (out / "README.md").read_text() == "by hand"

    def test_are_not_looked_at_where_nothing_is_copied(self, folder, tmp_path):
        (folder / "README.md").symlink_to(tmp_path / "elsewhere.md")
        assert check_file(folder, MaxNorm(9.0)).tensors

    def test_are_those_of_known_names_in_a_folder_that_is_named(self, folder, tmp_path):
        (folder / "train.log").write_text("step 1")
        (folder / "LICENSE").write_text("Apache-2.0")
        project_file(folder, tmp_path / "out", MaxNorm(1.0))
        made = {path.name for path in (tmp_path / "out").iterdir()}
        assert made == {"model.safetensors", "config.json", "vocab.txt", "LICENSE"}

    def test_that_change_during_a_run_give_no_result(self, folder, tmp_path):
        def change(count):
            (folder / "config.json").write_text("{}")

        with pytest.raises(ValueError, match=r"has changed while it was read: config\.json"):
            project_file(folder, tmp_path / "out", MaxNorm(1.0), progress=change)
        assert not (tmp_path / "out").exists()
