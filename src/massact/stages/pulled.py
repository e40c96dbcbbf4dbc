"""The pipeline's first stage: check that the shipped checkpoints are here. `python -m massact.stages.pulled STAMP`.

`python -m massact.stages.pulled --diagnose` reports missing and damaged objects of the DVC remote in this repository.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from massact.disk import write_text
from massact.errors import MassactError
from massact.tracked import FOLDER_ENDING, LOCK, STORE, md5_of, object_place, outputs

SHIPPED = Path("data/pocket")
_NAMED = 5


def main(arguments: list[str]) -> int:
    """Write the stamp, or report what is missing with the command that fetches it, and return 1."""
    if arguments == ["--diagnose"]:
        return _diagnose()
    if not Path("params.yaml").is_file():
        sys.stderr.write(f"massact: {Path.cwd()} is not the project's folder: run this in the root of the clone\n")
        return 1
    if not any(SHIPPED.glob("*/step0/model.safetensors")):
        sys.stderr.write(f"massact: the shipped checkpoints are missing; fetch them with: {_pull(Path())}\n")
        return 1
    try:
        write_text(Path(arguments[0]), "the shipped checkpoints are here\n")
    except MassactError as error:
        sys.stderr.write(f"massact: {error}\n")
        return error.exit_code
    return 0


def _diagnose() -> int:
    try:
        lines = diagnosis(Path())
    except MassactError as error:
        lines = [str(error)]
    for line in lines:
        sys.stderr.write(f"massact: {line}\n")
    return 1


def diagnosis(root: Path) -> list[str]:
    """Why `dvc pull -R data` fails in this folder: one line for each object that is missing or damaged.

    The remedies are commands that work here. A source archive has no Git to check anything out of.
    """
    store = root / STORE
    if not store.is_dir():
        return [
            f"{STORE}, the DVC remote with the shipped data, is missing; use a complete copy: a git clone or a source "
            "archive"
        ]
    paths = dict(_objects(root))
    wrong = {md5: why for md5 in paths if (why := _wrong(store, md5))}
    faults = [f"{store / object_place(md5)}, {paths[md5]}: {why}" for md5, why in wrong.items()]
    lines = faults[:_NAMED]
    if len(faults) > _NAMED:
        lines.append(f"{len(faults) - _NAMED} more objects of {STORE} are missing or damaged")
    if faults:
        return [*lines, _restore(root)]
    return [f"all {len(paths)} objects in {STORE} are intact; see the cause with: dvc pull -v -R data"]


def in_archive(root: Path) -> bool:
    """Whether this is a source archive, a copy without a Git repository."""
    return not (root / ".git").exists()


def _restore(root: Path) -> str:
    if in_archive(root):
        return (
            f"this copy has no Git repository: copy {STORE} again from the archive or from a git clone; then: "
            f"{_pull(root)}"
        )
    return f"restore them with: git checkout -- {STORE} && {_pull(root)}"


def _pull(root: Path) -> str:
    """The command that fetches the shipped data. In an archive it first tells DVC to work without Git."""
    return "sh tools/pull.sh" if in_archive(root) else "dvc pull -R data"


def _objects(root: Path) -> Iterator[tuple[str, str]]:
    """The hash and the path of every object in the lock files of data/."""
    for lock in sorted((root / "data").glob(f"*/{LOCK}")):
        for path, md5 in outputs(lock):
            yield md5, path
            if md5.endswith(FOLDER_ENDING) and not _wrong(root / STORE, md5):
                entries = json.loads((root / STORE / object_place(md5)).read_text(encoding="utf-8"))
                yield from ((entry["md5"], f"{path}/{entry['relpath']}") for entry in entries)


def _wrong(store: Path, md5: str) -> str:
    """What is wrong with an object; empty if nothing is."""
    path = store / object_place(md5)
    try:
        content = path.read_bytes()
    except OSError as error:
        return "it is missing" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
    if content.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself (in a clone: git lfs pull)"
    if md5_of(content) != md5.removesuffix(FOLDER_ENDING):
        return "it is damaged: its content does not match its hash"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
