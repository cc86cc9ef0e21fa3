"""Fuzz the reading of damaged files with Atheris, guided by coverage: not a part of the tests.

In an environment of its own, with Atheris (for Python 3.11 to 3.13)::

    pip install atheris '.[files,zarr,hdf5]'
    python tests/fuzz_files.py npz -max_total_time=180

The format is one of ``damaged_files.py`` that is a single file; what follows are options of
libFuzzer. It begins with the cases of that module, and stops at the first error that is not
one of ours, crash, hang, or use of too much memory. What it was reading is left in ``crash-*``.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

MEMORY = 2**30


def main(name: str, *options: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["array_constraints", "numpy.lib", "zipfile"]):
        from damaged_files import FORMATS, fault_of

        from array_constraints.files import check_file

    form = FORMATS[name]
    with tempfile.TemporaryDirectory() as text:
        source, corpus = Path(text, "case", form.entry), Path(text, "corpus")
        for folder in (source.parent, corpus):
            folder.mkdir()
        seeds = [*form.bases(), *(case.files for case in form.all_cases())]
        for i, files in enumerate(seeds):
            (corpus / str(i)).write_bytes(files[form.entry])

        def read(data: bytes) -> None:
            source.write_bytes(data)
            try:
                check_file(source, form.rules, workers=1, strict=True)
            except Exception as error:
                if fault := fault_of(error, source):
                    raise AssertionError(fault) from error

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        arguments = [sys.argv[0], *options, "-timeout=20", "-rss_limit_mb=0", str(corpus)]
        atheris.Setup(arguments, read)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
