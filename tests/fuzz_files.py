"""Fuzz the reading of damaged files with Atheris, guided by coverage: not a part of the tests.

In an environment of its own, with Atheris (which needs Python 3.11 to 3.13)::

    pip install atheris h5py zarr '.[files]'
    python tests/fuzz_files.py npz -max_total_time=180

The format is one of ``damaged_files.py`` that is a file; what follows are options of libFuzzer.
It begins with the cases of that module, and stops at the first error that is not ours; a crash,
a hang or too much memory stop it, too. What it was reading is left in ``crash-...``.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["array_constraints", "numpy.lib", "zipfile", "json"]):
    import json  # noqa: F401
    import zipfile  # noqa: F401

    from damaged_files import FORMATS, fault_of

    from array_constraints.files import check_file

MEMORY = 2**30


def main(name: str, *options: str) -> None:
    form = FORMATS[name]
    with tempfile.TemporaryDirectory() as text:
        folder, corpus = Path(text, "case"), Path(text, "corpus")
        folder.mkdir()
        corpus.mkdir()
        seeds = [*form.bases(), *(case.files for case in form.all_cases())]
        for i, files in enumerate(seeds):
            (corpus / str(i)).write_bytes(files[form.entry])
        source = folder / form.entry

        def read(data: bytes) -> None:
            source.write_bytes(data)
            try:
                check_file(source, form.rules, workers=1)
            except Exception as error:
                if fault := fault_of(error, source):
                    raise AssertionError(fault) from error

        limit = int(Path("/proc/self/statm").read_text().split()[0])
        limit = limit * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        atheris.Setup([sys.argv[0], *options, "-timeout=20", "-rss_limit_mb=0", str(corpus)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
