"""Files of saved models: text, archives and HDF5, whole or damaged."""

from __future__ import annotations

import json
import struct
import sys
import zipfile

import numpy as np
import pytest
from saved_models import net, sequential, written

from array_constraints import Constraint, NonNeg
from array_constraints.config import model_files, read_constraints

h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize(
    "value", ["text", np.bytes_("text")], ids=["of any length", "of one length"]
)
def test_the_attribute_may_be_a_text_or_bytes(value, tmp_path):
    text = json.dumps(sequential({"name": "é", "kernel_constraint": "non_neg"}))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = text if value == "text" else np.bytes_(text.encode())
    assert read_constraints(tmp_path / "m.h5") == {"é/kernel_constraint": NonNeg()}


def test_hdf5_that_keras_2_named_keras_is_read_as_such(tmp_path):
    path = net(tmp_path, {"name": "a", "kernel_constraint": "non_neg"}, suffix=".h5")
    path = path.rename(tmp_path / "net.keras")
    assert read_constraints(path) == {"a/kernel_constraint": NonNeg()}


def test_compressed_archives_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(sequential({"constraint": "non_neg"})))
    assert read_constraints(tmp_path / "m.keras") == {"dense/constraint": NonNeg()}


class TestFiles:
    @pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.json"])
    def test_that_are_not_there_are_the_systems_error(self, name, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_constraints(tmp_path / name)

    @pytest.mark.parametrize("name", ["m.txt", "m", "m.npz", "m.JSON"])
    def test_of_other_kinds_are_refused(self, name, tmp_path):
        message = "models are read from .keras, .json, .h5, .hdf5"
        with pytest.raises(ValueError, match=message):
            read_constraints(written(sequential(), tmp_path / name))

    def test_that_are_folders_say_what_to_read(self, tmp_path):
        (tmp_path / "m.keras").mkdir()
        with pytest.raises(ValueError, match=r"is a folder: read the config\.json in it"):
            read_constraints(tmp_path / "m.keras")

    @pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"{", "the configuration cannot be read: Expecting"),
            (b"", "the configuration cannot be read: Expecting"),
            (b'{"class_name": "\xff"}', "the configuration cannot be read: .*utf-8"),
            (b'{"a": 1, "a": 1}', "the key 'a' stands there twice"),
            (b'{"a": 1e999}', "'1e999' is beyond the range of numbers"),
            (b"[" * 100_000, "the configuration is nested too deep"),
            (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64 levels deep"),
            (b"[]", "holds no model: got list"),
            (b'"{}"', "holds no model: got str"),
            (b'{"modelTopology": {"node": []}}', r"no class_name or config, got \['node'\]"),
            (b'{"class_name": 3, "config": {}}', "holds no model"),
            (b'{"class_name": "Sequential"}', "holds no model"),
        ],
        ids=lambda value: str(value[:12]),
    )
    def test_of_damaged_configurations_are_refused(self, text, message, suffix, tmp_path):
        path = written(text, tmp_path / f"m{suffix}")
        with pytest.raises(ValueError, match=message) as caught:
            read_constraints(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
    def test_of_any_length_are_refused(self, suffix, tmp_path, monkeypatch):
        path = net(tmp_path, {"name": "a"}, suffix=suffix)
        length = len(json.dumps(sequential({"name": "a"})))
        monkeypatch.setattr(model_files, "_LONGEST", length)
        assert read_constraints(path) == {}
        monkeypatch.setattr(model_files, "_LONGEST", length - 1)
        with pytest.raises(ValueError, match=f"longer than {length - 1} bytes"):
            read_constraints(path)

    def test_with_a_mark_of_an_editor_are_read(self, tmp_path):
        text = json.dumps(sequential({"name": "a", "constraint": "non_neg"}))
        (tmp_path / "m.json").write_text(text, encoding="utf-8-sig")
        assert read_constraints(tmp_path / "m.json") == {"a/constraint": NonNeg()}


class TestArchives:
    @pytest.mark.parametrize("count", [0, 2])
    def test_have_one_configuration(self, count, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("metadata.json", "{}")
            for _ in range(count):
                archive.filelist = [i for i in archive.filelist if i.filename == "config.json"]
                archive.NameToInfo.clear()  # so that none of them is warned about
                archive.writestr("config.json", json.dumps(sequential()))
        with pytest.raises(ValueError, match=f"it has {count} members config.json"):
            read_constraints(tmp_path / "m.keras")

    def test_that_are_none_are_refused(self, tmp_path):
        (tmp_path / "m.keras").write_bytes(b"{}")
        with pytest.raises(ValueError, match="the archive cannot be read: File is not a zip"):
            read_constraints(tmp_path / "m.keras")

    def test_by_other_methods_are_refused(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("config.json", json.dumps(sequential()))
        with pytest.raises(ValueError, match="is compressed by method 14"):
            read_constraints(tmp_path / "m.keras")

    def test_with_a_password_are_refused(self, tmp_path):
        path = written(sequential(), tmp_path / "m.keras")
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json is encrypted"):
            read_constraints(path)

    def test_with_another_checksum_are_refused(self, tmp_path):
        path = net(tmp_path, {"name": "a"}, suffix=".keras")
        path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
        with pytest.raises(ValueError, match="the archive cannot be read: Bad CRC-32"):
            read_constraints(path)

    def test_that_promise_more_than_they_have_are_refused(self, tmp_path):
        path = written(sequential(), tmp_path / "m.keras")
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 2**31)
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is longer than 33554432 bytes"):
            read_constraints(path)


class TestHdf5:
    def test_of_weights_alone_says_so(self, tmp_path):
        with h5py.File(tmp_path / "m.weights.h5", "w") as file:
            file["kernel"] = np.ones(3)
        with pytest.raises(ValueError, match="no attribute model_config: weights alone"):
            read_constraints(tmp_path / "m.weights.h5")

    def test_that_is_none_is_refused(self, tmp_path):
        (tmp_path / "m.h5").write_bytes(b"{}" * 1000)
        with pytest.raises(ValueError, match=r"m\.h5: the HDF5 file cannot be read: "):
            read_constraints(tmp_path / "m.h5")

    @pytest.mark.parametrize("value", [3, ["{}"], np.zeros((2, 3)), h5py.Empty("f")])
    def test_must_have_one_text(self, value, tmp_path):
        with h5py.File(tmp_path / "m.h5", "w") as file:
            file.attrs["model_config"] = value
        with pytest.raises(ValueError, match=r"model_config must be (one|a) text"):
            read_constraints(tmp_path / "m.h5")

    def test_without_h5py_says_what_to_install(self, tmp_path, monkeypatch):
        path = net(tmp_path, {"name": "a"}, suffix=".h5")
        monkeypatch.setitem(sys.modules, "h5py", None)
        message = r"HDF5 is read with h5py: pip install h5py"
        with pytest.raises(ImportError, match=message):
            read_constraints(path)


@pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
def test_damage_anywhere_ends_in_a_result_or_a_value_error(suffix, tmp_path):
    """Every byte of the configuration and of what surrounds it, changed."""
    path = net(tmp_path, {"name": "a", "kernel_constraint": "non_neg"}, suffix=suffix)
    whole = path.read_bytes()
    step = max(1, len(whole) // 200)
    for at in range(0, len(whole), step):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read_constraints(path)
            except (ValueError, TypeError):
                continue
            assert all(isinstance(c, Constraint) for c in found.values())
