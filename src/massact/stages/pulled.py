"""The pipeline's first stage: whether the shipped checkpoints are here. `python -m massact.stages.pulled STAMP`.

`python -m massact.stages.pulled --diagnose` says what of the DVC remote in this repository is missing or damaged.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from massact.disk import write_text
from massact.errors import MassactError

SHIPPED = Path("data/pocket")
STORE = Path("data/store")
_NAMED = 5


def main(arguments: list[str]) -> int:
    """Write the stamp, or name what is missing and the command that brings it, and return 1."""
    if arguments == ["--diagnose"]:
        for line in diagnosis(Path()):
            sys.stderr.write(f"massact: {line}\n")
        return 1
    if not Path("params.yaml").is_file():
        sys.stderr.write(f"massact: {Path.cwd()} is not the project's folder; run it there: cd to the clone\n")
        return 1
    if not any(SHIPPED.glob("*/step0/model.safetensors")):
        sys.stderr.write("massact: the shipped checkpoints are not here; bring them with: dvc pull -R data\n")
        return 1
    try:
        write_text(Path(arguments[0]), "the shipped checkpoints are here\n")
    except MassactError as error:
        sys.stderr.write(f"massact: {error}\n")
        return error.exit_code
    return 0


def diagnosis(root: Path) -> list[str]:
    """Why `dvc pull -R data` fails in this folder, in one line for each object that is missing or damaged."""
    store = root / STORE
    if not store.is_dir():
        return [
            f"{STORE}, the DVC remote with the shipped data, is not here; take a whole copy: git clone, or an archive"
        ]
    wanted = dict(_wanted(root))
    found = [f"{store / _place(md5)}, {path}: {why}" for md5, path in wanted.items() if (why := _wrong(store, md5))]
    lines = found[:_NAMED]
    if len(found) > _NAMED:
        lines.append(f"{len(found) - _NAMED} more objects of {STORE} are missing or damaged")
    if found:
        return [*lines, f"bring them back with: git checkout -- {STORE} && dvc pull -R data"]
    return [f"all {len(wanted)} objects in {STORE} are whole; see why with: dvc pull -v -R data"]


def _wanted(root: Path) -> Iterator[tuple[str, str]]:
    """Hash and path of all objects that the lock files of the sources in data/ name."""
    from omegaconf import OmegaConf

    for lock in sorted((root / "data").glob("*/dvc.lock")):
        content: dict = OmegaConf.to_container(OmegaConf.load(lock))  # type: ignore[assignment]
        for stage in content.get("stages", {}).values():
            for out in stage.get("outs", []):
                yield out["md5"], out["path"]
                if out["md5"].endswith(".dir") and not _wrong(root / STORE, out["md5"]):
                    entries = json.loads((root / STORE / _place(out["md5"])).read_text(encoding="utf-8"))
                    yield from ((entry["md5"], f"{out['path']}/{entry['relpath']}") for entry in entries)


def _wrong(store: Path, md5: str) -> str:
    """What is wrong with an object; empty when it is whole."""
    path = store / _place(md5)
    try:
        content = path.read_bytes()
    except OSError as error:
        return "it is missing" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error.strerror})"
    if content.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself (git lfs pull)"
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
        return "it is damaged: its content does not have the hash it is stored under"
    return ""


def _place(md5: str) -> Path:
    return Path("files/md5") / md5[:2] / md5[2:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
