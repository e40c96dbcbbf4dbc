"""Compare the tables in this folder with the committed ones."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from massact.errors import MissingInputError

_TABLE = re.compile(r"^data/(extracted|fits)/.+\.parquet$")


@dataclass(frozen=True)
class Difference:
    """The largest relative difference between a table and the committed one, and its column (`where`)."""

    path: str
    relative: float
    where: str


def compare_tables(here: pd.DataFrame, committed: pd.DataFrame) -> tuple[float, str]:
    """Largest |a - b| / max(|a|, |b|) over the numeric columns, and its column; infinite if rows or columns differ.

    >>> compare_tables(pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0, 2.5]}))
    (0.2, 'x')
    """
    if list(here.columns) != list(committed.columns) or len(here) != len(committed):
        return float("inf"), "rows or columns"
    worst, where = 0.0, ""
    for name in here.columns:
        a, b = here[name].to_numpy(), committed[name].to_numpy()
        if not np.issubdtype(a.dtype, np.number):
            if not np.array_equal(a, b):
                return float("inf"), str(name)
            continue
        relative = _relative(a.astype(np.float64), b.astype(np.float64))
        if relative > worst:
            worst, where = relative, str(name)
    return worst, where


def differences_from_committed(root: Path) -> list[Difference]:
    """Compare every table of dvc.lock with its version in dvc.lock at HEAD, from the remote or the cache.

    Raises
    ------
    MissingInputError
        When there is no commit to compare with, or no table.
    TableError
        When a table here is damaged.
    """
    import dvc.api
    from dvc.repo import Repo

    from massact.seal import verified

    differences: list[Difference] = []
    if not (root / ".git").exists():
        raise MissingInputError(
            "no committed tables to compare with (this copy has no Git repository)", "to compare, run it in a git clone"
        )
    try:
        with Repo(str(root)) as repo:
            paths = sorted(p for o in repo.index.outs if _TABLE.match(p := str(Path(o.fs_path).relative_to(root))))
        here = [path for path in paths if (root / path).is_file()]
        committed = [dvc.api.read(path, repo=str(root), rev="HEAD", mode="rb") for path in here]
    except Exception as error:  # DVC and Git raise many types: no repository, another owner, nothing pulled
        why = " ".join(str(error).split()) or type(error).__name__
        raise MissingInputError(f"no committed tables to compare with ({why})", "git commit dvc.lock") from None
    for path, content in zip(here, committed, strict=True):
        before = pd.read_parquet(io.BytesIO(content))
        differences.append(Difference(path, *compare_tables(verified(root / path, "dvc repro").to_pandas(), before)))
    if not differences:
        raise MissingInputError("no tables here to compare", "create them with: dvc repro")
    return differences


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    a, b = a[~same], b[~same]
    if np.isinf(a).any() or np.isinf(b).any():
        return float("inf")
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))))
