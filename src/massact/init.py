"""`massact init FOLDER`: a project in which `dvc repro` measures, fits and reports one's own checkpoints."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from massact.disk import read_regular, write_text
from massact.errors import OutputError

# Below massact/project/, with the ending .txt: under their own names, DVC and git would read them there.
_ENDING = ".txt"
_FILES = ("README.md", "params.yaml", "dvc.yaml", "gitignore", "conf/experiment/own.yaml", "data/gitkeep")
_HIDDEN = {"gitignore": ".gitignore", "data/gitkeep": "data/.gitkeep"}
_LARGEST_BYTES = 1_000_000


def project_files() -> dict[str, str]:
    """The text of each file of a new project, by its path inside."""
    root = Path(__file__).parent / "project"
    return {_HIDDEN.get(name, name): (root / f"{name}{_ENDING}").read_text(encoding="utf-8") for name in _FILES}


def lay_out(folder: Path) -> list[str]:
    """Write a new project's files into a folder that is absent or empty. Returns the paths that it wrote.

    A folder that holds the same files already is left as it is.

    Raises
    ------
    OutputError
        The folder holds anything else.
    StorageError
        When the disk refuses.
    """
    files = project_files()
    missing = [name for name in files if not (folder / name).is_file()]
    different = [name for name in files if name not in missing and not _holds(folder / name, files[name])]
    ours = {Path(name).parts[0] for name in files}
    try:
        entries = [] if not folder.exists() else sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder} is no folder that can be read ({error.strerror})", "name another one") from None
    others = different or ([name for name in entries if name not in ours] if missing else [])
    if others:
        raise OutputError(f"{folder} is not empty: it holds {others[0]}", "name a new or empty folder")
    for name in missing:
        write_text(folder / name, files[name])
    return missing


def init_command(arguments: argparse.Namespace) -> str:
    """What was written, and the commands that follow."""
    folder = Path(arguments.folder)
    written = lay_out(folder)
    said = f"{folder}: {', '.join(written)}" if written else f"{folder} holds these files already"
    set_up = f"cd {shlex.quote(str(folder))} && git init && dvc init"
    return f"{said}\nnext: {set_up}; set where and name in params.yaml; dvc repro"


def _holds(path: Path, text: str) -> bool:
    try:
        return read_regular(path, _LARGEST_BYTES) == text.encode("utf-8")
    except OSError:
        return False
