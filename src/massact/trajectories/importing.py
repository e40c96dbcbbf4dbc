"""Import a folder of the paper's published measurements as a table of records, like those of `stage=extract`."""

from __future__ import annotations

import hashlib
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from massact.errors import MissingInputError, ParseError
from massact.trajectories.paper_format import STATISTICS, parse_stats
from massact.trajectories.schemas import RECORDS, REJECTED

SEQUENCES = 10
PROBE_LENGTH = 2048
UNKNOWN_PLACE = -1
_LARGEST_BYTES = 8_000_000  # a checkpoint of 36 layers has some 40,000
# In every Pythia the first update has a learning rate of zero, so these steps have the same weights.
_MAY_BE_EQUAL = frozenset({0, 1})
_NAME = re.compile(r"exp2_pythia_(?P<size>[^_]+)_step(?P<step>[0-9]{1,9})(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class PublishedImport:
    """The content of a folder of published statistics.

    Attributes
    ----------
    records : schema RECORDS
        One row per (step, layer, sequence). Tokens and dimensions are -1, because they are not published.
    rejected : schema REJECTED
        The files that were not used, with reasons, in order of step.
    files
        Step -> (file name, sha256 of its content) of the files that were used.
    twins
        Step -> why it is suspect: it has exactly the numbers of an earlier step.
    """

    records: pd.DataFrame
    rejected: pd.DataFrame
    files: Mapping[int, tuple[str, str]]
    twins: Mapping[int, str]


def import_published(
    folder: Path,
    size: str,
    *,
    n_layers: int,
    steps: Collection[int],
    tokens_per_step: int,
    sequences: int = SEQUENCES,
) -> PublishedImport:
    """Import `exp2_pythia_<size>_step<N>` files. A faulty file is rejected; nothing is repaired.

    Parameters
    ----------
    folder
        The files of one model. Files with other names are rejected; folders are ignored.
    size
        Pythia's name of the size, e.g. `14m`. The model is `pythia-<size>`; family and recipe are `pythia`.
    n_layers
        Number of layers of every row.
    steps
        The steps of the model's checkpoints. A file of another step is rejected.
    tokens_per_step
        Training tokens per step.
    sequences
        Number of sequences in every file.

    Raises
    ------
    MissingInputError
        When the folder does not exist.
    """
    if not folder.is_dir():
        raise MissingInputError(f"{folder} does not exist", "name a folder of exp2_pythia_<size>_step<N> files")
    rejected: dict[str, tuple[int, str]] = {}
    named = _named(folder, size, steps, rejected)
    read: dict[int, Float[ndarray, "sequence statistic layer"]] = {}
    files: dict[int, tuple[str, str]] = {}
    for step, path in sorted(named.items()):
        try:
            content = _read(path)
            read[step] = _checked(content, n_layers, sequences)
        except (ParseError, OSError) as error:
            rejected[path.name] = step, _reason(error)
        else:
            files[step] = path.name, hashlib.sha256(content).hexdigest()
    rows = sorted((step, name, reason) for name, (step, reason) in rejected.items())
    return PublishedImport(
        _records(read, size, tokens_per_step),
        REJECTED.validate(pd.DataFrame(rows, columns=["step", "file", "reason"]), str(folder)),
        files,
        _twins(read),
    )


def _named(folder: Path, size: str, steps: Collection[int], rejected: dict[str, tuple[int, str]]) -> dict[int, Path]:
    """Step -> file, for names with this model and one of its steps. Steps that occur twice are rejected."""
    by_step: defaultdict[int, list[Path]] = defaultdict(list)
    for path in sorted(p for p in folder.iterdir() if not p.is_dir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match["size"] != size:
            rejected[path.name] = -1, f"its name is not exp2_pythia_{size}_step<N>"
            continue
        by_step[int(match["step"])].append(path)
    known, files = set(steps), {}
    for step, paths in by_step.items():
        exact = f"exp2_pythia_{size}_step{step}"
        for path in paths:
            others = [other.name for other in paths if other != path]
            if step not in known:
                rejected[path.name] = step, f"pythia-{size} has no checkpoint at step {step}"
            elif others:
                rejected[path.name] = step, f"step {step} occurs twice: also in {', '.join(others)}"
            elif path.name != exact:
                rejected[path.name] = step, f"its name is not {exact}"
            else:
                files[step] = path
    return files


def _read(path: Path) -> bytes:
    """A file's content. Devices and pipes are not read, also behind links, nor are files that are too large.

    Raises
    ------
    ParseError
        When it is not a regular file of at most 8 MB.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ParseError("it is not a regular file")
    if status.st_size > _LARGEST_BYTES:
        raise ParseError(f"it has {status.st_size:,} bytes; statistics of one checkpoint have less than a million")
    return path.read_bytes()


def _checked(content: bytes, n_layers: int, sequences: int) -> Float[ndarray, "sequence statistic layer"]:
    """The numbers of one file, checked to be a complete measurement of this model.

    Raises
    ------
    ParseError
        As `parse_stats`. Also when numbers of sequences or layers differ, a number exceeds float32, or a median is 0.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"line {content.count(10, 0, error.start) + 1}: it is not UTF-8 text") from None
    values = parse_stats(text)
    if len(values) != sequences:
        raise ParseError(f"it has {len(values)} sequences, not {sequences}")
    if values.shape[2] != n_layers:
        raise ParseError(f"it has {values.shape[2]} layers, the model {n_layers}")
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(rounded) | ((rounded == 0) & (np.arange(len(STATISTICS)) == 3)[:, None]))
    if len(wrong):
        sequence, statistic, layer = (int(i) for i in wrong[0])
        value, name = values[sequence, statistic, layer], STATISTICS[statistic]
        why = "is 0: it has no ratio" if rounded[sequence, statistic, layer] == 0 else "is beyond float32"
        raise ParseError(f"sequence {sequence}, layer {layer}: {name} {value:g} {why}")
    return values


def _records(
    read: Mapping[int, Float[ndarray, "sequence statistic layer"]], size: str, tokens_per_step: int
) -> pd.DataFrame:
    frames = [_step_frame(step, values) for step, values in sorted(read.items())]
    frame = pd.concat(frames, ignore_index=True) if frames else _step_frame(0, np.empty((0, len(STATISTICS), 0)))
    places = {f"{place}{rank}": UNKNOWN_PLACE for place in ("token", "dimension") for rank in (1, 2, 3)}
    frame = frame.assign(
        family="pythia",
        recipe="pythia",
        model=f"pythia-{size}",
        seed=0,
        tokens=frame["step"] * tokens_per_step,
        probe_length=PROBE_LENGTH,
        first_token=-1,
        **places,
    )
    return RECORDS.validate(frame, f"pythia-{size}")


def _step_frame(step: int, values: Float[ndarray, "sequence statistic layer"]) -> pd.DataFrame:
    """Rows in the order of our own tables: by layer, then by sequence."""
    n, _, layers = values.shape
    columns = {
        "step": np.full(layers * n, step),
        "layer": np.repeat(np.arange(layers), n),
        "sequence": np.tile(np.arange(n), layers),
    }
    return pd.DataFrame(columns | {name: values[:, i].T.ravel() for i, name in enumerate(STATISTICS)})


def _twins(read: Mapping[int, Float[ndarray, "sequence statistic layer"]]) -> dict[int, str]:
    """Steps with exactly the numbers of an earlier step."""
    first: dict[bytes, int] = {}
    twins = {}
    for step, values in sorted(read.items()):
        earlier = first.setdefault(values.tobytes(), step)
        if earlier != step and not {earlier, step} <= _MAY_BE_EQUAL:
            twins[step] = f"has the numbers of step {earlier}"
    return twins


def _reason(error: ParseError | OSError) -> str:
    """The error in one line."""
    return error.what if isinstance(error, ParseError) else f"it cannot be read ({error.strerror or error})"
