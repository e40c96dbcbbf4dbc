"""stage=verify: train members of a suite again and compare them with the published table, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from massact.compose.suite import chosen, suite_of
from massact.config import Config
from massact.errors import MissingInputError, NotReproducedError
from massact.tables import read_table
from massact.train.machine import machine
from massact.train.members import Member
from massact.trajectories import RECORDS

_PLACE = ["step", "layer", "sequence"]


def run(config: Config, output: Path) -> list[str]:
    """Train the members in `suite.only` (if empty: the cheapest) in the job's own folder, and compare."""
    published = suite_of(config)
    table = read_table(published.published, RECORDS, remedy="fetch it with: dvc pull")
    known = [member for member in chosen(published.members, config.suite.only) if published.row(member) is not None]
    if not known:
        raise MissingInputError(f"{published.published} has none of the requested members", "see suite.only")
    members = known if config.suite.only else [min(known, key=lambda member: member.cost)]
    again = published.elsewhere(output / "verify")
    lines = []
    for member, _ in again.work(members):
        old = _of(table, member)
        new = _of(again.records_of(member), member)
        difference = first_difference(old, new)
        if difference:
            raise NotReproducedError(
                f"{member.name} is not what {published.published} has: {difference}",
                _why(published.row(member) or {}, config.train.threads),
            )
        lines.append(
            f"{member.name}: {old['step'].nunique()} steps x {old['layer'].nunique()} layers x "
            f"{old['sequence'].nunique()} sequences, the same to the last bit"
        )
    return lines


def first_difference(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """Where two tables of records first differ, and the largest difference; empty if they are equal bit for bit."""
    if list(old.columns) != list(new.columns) or len(old) != len(new) or not old[_PLACE].equals(new[_PLACE]):
        return f"{len(old)} records against {len(new)}, or other steps"
    for name in old.columns:
        a, b = old[name].to_numpy(), new[name].to_numpy()
        unequal = a != b
        if unequal.any():
            at = int(np.flatnonzero(unequal)[0])
            place = ", ".join(f"{axis} {old[axis].iloc[at]}" for axis in _PLACE)
            size = ""
            if a.dtype.kind == "f":
                size = f"; largest relative difference {float(np.max(np.abs(a - b) / np.abs(a))):.2g}"
            return f"{name} at {place} is {b[at]}, not {a[at]} ({int(unequal.sum())} of {len(a)} differ{size})"
    return ""


def _of(table: pd.DataFrame, member: Member) -> pd.DataFrame:
    rows: Any = table[(table["model"] == member.model) & (table["seed"] == member.seed)]
    return rows.sort_values(by=_PLACE).reset_index(drop=True)


def _why(row: dict, threads: int) -> str:
    here, there = machine(threads), row.get("machine", {})
    other = [f"{name} {here[name]} here, {there.get(name)} there" for name in here if here[name] != there.get(name)]
    return "; ".join(other) if other else "the machine is of the same type: please report it"
