"""What DVC recorded of the pipeline's outputs (`dvc.lock`), and whether the files here are still those."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massact.errors import MissingInputError

log = logging.getLogger("massact")
LOCK = "dvc.lock"
STORE, CACHE = Path("data/store"), Path(".dvc/cache")  # the default remote, and where DVC keeps what it pulled
FOLDER_ENDING = ".dir"


@dataclass(frozen=True)
class Recorded:
    """One output of the pipeline as a lock file states it.

    Attributes
    ----------
    path, lock
        The output and the file that states it.
    md5s
        Hash of every file of a folder, by its path inside; of a file its own, under "".
    """

    path: Path
    lock: Path
    md5s: Mapping[str, str]

    def differing(self, below: str = "") -> list[Path]:
        """Files here, in a folder `below` or all of them, whose content is not the recorded one; missing ones aside."""
        paths = ((self.path / name if name else self.path, md5) for name, md5 in self._below(below))
        return [path for path, md5 in paths if path.is_file() and file_md5(path) != md5]

    def refusal(self, path: Path) -> tuple[str, str]:
        """The message for a file that differs, with two commands: one restores it, one records the present content."""
        back = f"rm {shlex.quote(str(path))} && dvc pull {shlex.quote(str(self.path))}"
        return (
            f"{path} is not the file that {self.lock} records",
            f"restore it with: {back}; or, if you created it, keep it with: dvc commit -f "
            f"{self.lock.with_name('dvc.yaml')}",
        )

    def _below(self, folder: str) -> Iterator[tuple[str, str]]:
        return ((name, md5) for name, md5 in self.md5s.items() if not folder or name.startswith(f"{folder}/"))


def recorded(path: Path) -> Recorded | None:
    """The entry of a file or folder in the lock files of this project; None if there is none.

    Raises
    ------
    MissingInputError
        When a lock file cannot be read.
    """
    try:
        out = (Path.cwd() / path).relative_to(Path.cwd())
    except ValueError:  # outside the project
        return None
    for lock in dict.fromkeys((out.parent / LOCK, Path(LOCK))):
        for name, md5 in outputs(lock) if lock.is_file() else ():
            if Path(name) != out:
                continue
            files = listing(Path(), md5) if md5.endswith(FOLDER_ENDING) else {"": md5}
            if files is None:
                log.warning("%s is not held to %s: its list of files is not in %s; dvc pull", out, lock, CACHE)
                return None
            return Recorded(out, lock, files)
    return None


def warn_unless_recorded(path: Path, folder: Path | None = None) -> None:
    """Warn about a file that differs from the recorded one; `folder` is the output that contains it, if any."""
    stated = recorded(folder or path)
    below = {} if stated is None else dict(stated.md5s)
    name = "" if folder is None else path.relative_to(folder).as_posix()
    if stated is not None and name in below and path.is_file() and file_md5(path) != below[name]:
        log.warning("%s; %s", *stated.refusal(path))


def outputs(lock: Path) -> Iterator[tuple[str, str]]:
    """Path and hash of every output that a lock file names.

    Raises
    ------
    MissingInputError
        When it is not a lock file.
    """
    import yaml

    try:
        content: Any = yaml.load(lock.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        stages = content.get("stages", {}).values()
        pairs = [(str(out["path"]), str(out["md5"])) for stage in stages for out in stage.get("outs", [])]
    except (OSError, yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise MissingInputError(f"{lock} cannot be read ({why})", f"restore it, e.g. git checkout -- {lock}") from None
    yield from pairs


def listing(root: Path, md5: str) -> dict[str, str] | None:
    """Path inside -> hash of a tracked folder's files; None where neither cache nor store has the whole list."""
    for base in (root / CACHE, root / STORE):
        try:
            content = (base / object_place(md5)).read_bytes()
        except OSError:
            continue
        if md5_of(content) == md5.removesuffix(FOLDER_ENDING):
            return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
    return None


def object_place(md5: str) -> Path:
    """Where DVC keeps an object, below its cache or remote."""
    return Path("files/md5") / md5[:2] / md5[2:]


def md5_of(content: bytes) -> str:
    """Hash of some content, as DVC computes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def file_md5(path: Path) -> str:
    """Hash of a file's content, as DVC computes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
