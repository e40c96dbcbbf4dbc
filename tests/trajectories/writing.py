"""Text in the published format, and files made of the excerpts."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from massact.trajectories.paper_format import parse_stats

FOLDER = Path(__file__).parents[1] / "data" / "published_stats"


def excerpt(size: str, step: int) -> np.ndarray:
    """The numbers of an excerpt: (sequence, statistic, layer)."""
    return parse_stats((FOLDER / f"exp2_pythia_{size}_step{step}").read_text())


def tiled(values: np.ndarray, sequences: int = 10) -> np.ndarray:
    """The sequences over and over again, as many as a published file has."""
    return values[np.arange(sequences) % len(values)]


def written(values, *, rng: random.Random, precision: int | None = None) -> str:
    """As numpy prints: rows wrapped, numbers padded, commas between sequences dropped now and then."""

    def number(value: float) -> str:
        digits = repr(float(value)) if precision is None else f"{value:.{precision}e}"
        return " " * rng.randint(0, 3) + digits + " " * rng.randint(0, 2)

    def row(values) -> str:
        return "[" + ("," + rng.choice(["", " ", "\n  "])).join(number(v) for v in values) + "]"

    sequences = ["[" + (",\n" if rng.random() < 0.5 else ",").join(map(row, s)) + "]" for s in values]
    text = sequences[0]
    for sequence in sequences[1:]:
        text += rng.choice(["", ",", " ,\n", "\n"]) + sequence
    return f"[{text}]"


def write_stats(folder: Path, size: str, step: int, values: np.ndarray) -> Path:
    """One file of ten sequences, quirks included; the same arguments give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"exp2_pythia_{size}_step{step}"
    path.write_text(written(tiled(values), rng=random.Random(step)), encoding="utf-8")
    return path
