"""Replace output folders atomically, and only those that massact wrote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from massact.disk import storing
from massact.errors import OutputError

# Returns why a folder is not an earlier version of its replacement; empty if it is one.
Stranger = Callable[[Path], str]


def replaceable(final: Path, stranger: Stranger) -> None:
    """Refuse a folder whose content must not be replaced. Absent and empty folders are accepted.

    First, the content that a killed `replace_folder` had set aside is restored.

    Parameters
    ----------
    stranger
        Called with an existing, non-empty folder.

    Raises
    ------
    OutputError
        The path is a link or a file, or the folder has content that massact did not write.
    """
    with storing(final.parent):
        _recover(final, stranger)
        _check(final, stranger)


def replace_folder(source: Path, final: Path, stranger: Stranger) -> None:
    """Copy a folder to `final`. A crash leaves the old or the new content. Until the end both are on the disk.

    Raises
    ------
    OutputError
        As in `replaceable`.
    StorageError
        When the disk cannot be written to.
    """
    replaceable(final, stranger)
    new = _beside(final, "new")
    with storing(final.parent, sum(path.stat().st_size for path in source.rglob("*") if path.is_file())):
        _remove_copy(new, source)
        try:
            shutil.copytree(source, new)
            if final.exists():
                final.rename(_beside(final, "old"))
            new.rename(final)
        except OSError:
            _recover(final, stranger)
            _remove_copy(new, source)
            raise
        _recover(final, stranger)


def files_in(folder: Path) -> Iterator[str]:
    """Relative POSIX paths of all files in a folder, and of all subfolders that are empty or links."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*names, *links]:
            yield (here / name).relative_to(folder).as_posix()
        if not folders and not names and here != folder:
            yield here.relative_to(folder).as_posix()


def _beside(final: Path, age: str) -> Path:
    return final.with_name(f".{final.name}.massact-{age}")


def _recover(final: Path, stranger: Stranger) -> None:
    """Restore the content that a killed replacement had set aside, or delete it if the new content is complete."""
    old, gone = _beside(final, "old"), _beside(final, "gone")
    if gone.is_dir() and not gone.is_symlink():  # was checked before the rename; a kill may have left a part of it
        shutil.rmtree(gone)
    if old.is_symlink() or not old.exists():
        return
    _check(old, stranger)
    if final.exists():
        old.rename(gone)
        shutil.rmtree(gone)
    else:
        old.rename(final)


def _check(folder: Path, stranger: Stranger) -> None:
    if folder.is_symlink():
        raise _refused(folder, f"is a link to {folder.resolve()}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise _refused(folder, "is not a folder")
    why = stranger(folder) if any(folder.iterdir()) else ""
    if why:
        raise _refused(folder, why)


def _remove_copy(copy: Path, source: Path) -> None:
    """Remove the partial copy of a killed call, after checking that the source has all its files."""
    if not copy.exists() and not copy.is_symlink():
        return
    known = {path.relative_to(source).as_posix() for path in source.rglob("*")}
    foreign = {"it"} if copy.is_symlink() or not copy.is_dir() else set(files_in(copy)) - known
    if foreign:
        raise _refused(copy, f"is not a copy of {source} ({min(foreign)})")
    shutil.rmtree(copy)


def _refused(folder: Path, why: str) -> OutputError:
    return OutputError(f"{folder} {why}", "nothing was changed: move it away or choose another folder")
