"""The file format of the forecast artefact: its kind, version and hash, and checks of every value."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from massact.architecture import LARGEST, Architecture
from massact.errors import MissingInputError, ParseError
from massact.predict.bands import HeldOut
from massact.predict.factors import FACTORS, SIZES, UNUSED, factors, relative_depth
from massact.predict.process import Kernels, Process

KIND = "massact forecast"
QUANTITY = "ratio"
VERSION = 3
CHOICES = ("rotary_fraction", "parallel_residual")
MOST_BYTES = 100_000_000
_REMAKE = "recreate it with: python run.py stage=predict"
_REINSTALL = "install massact again; in a clone: git checkout -- src/massact/artefacts/forecast.json"


@dataclass(frozen=True)
class Learned:
    """The model learnt from the trainings of one recipe.

    Attributes
    ----------
    tokens_per_step, architectures, trainings
        Tokens per optimiser step, and the numbers of measured architectures and trainings.
    steps : int (step,)
        Optimiser steps, ascending.
    ranges
        Smallest and largest value of each number of `SIZES` among the architectures.
    choices, unused
        The values of each number of `CHOICES` and of `UNUSED` among the architectures, ascending.
    centre, spread, low, high : float (factor,)
        Mean, standard deviation, minimum and maximum of the factors over rows.
    mean : float (step,)
        The mean log curve.
    components : float (component, step)
        The basis of log curves around it.
    x : float (row, factor)
        Standardised factors of the measured rows: a row is a layer of a training.
    depth : float (row, 1)
        Their relative depth.
    processes
        The Gaussian process of each coordinate in the basis.
    held_out : HeldOut
        Residuals of the measured rows, design points held out.
    """

    tokens_per_step: int
    architectures: int
    trainings: int
    steps: Int[ndarray, " step"]
    ranges: Mapping[str, tuple[int, int]]
    choices: Mapping[str, tuple[Any, ...]]
    unused: Mapping[str, tuple[Any, ...]]
    centre: Float[ndarray, " factor"]
    spread: Float[ndarray, " factor"]
    low: Float[ndarray, " factor"]
    high: Float[ndarray, " factor"]
    mean: Float[ndarray, " step"]
    components: Float[ndarray, "component step"]
    x: Float[ndarray, "row factor"]
    depth: Float[ndarray, "row 1"]
    processes: tuple[Process, ...]
    held_out: HeldOut

    def log_curves(self, architecture: Architecture) -> Float[ndarray, "layer step"]:
        """The expected log ratio of each layer at the model's steps."""
        depth = relative_depth(np.arange(architecture.n_layers), architecture.n_layers)
        x = np.tile((factors(architecture) - self.centre) / self.spread, (len(depth), 1))
        coordinates = [process.at(x, depth, self.x, self.depth) for process in self.processes]
        return self.mean + np.column_stack(coordinates) @ self.components


def sealed(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The artefact of the models by recipe, with its kind, version and hash.

    Raises
    ------
    ParseError
        It could not be read back: a number is not finite, or a list has the wrong length.
    """
    content = {
        "kind": KIND,
        "quantity": QUANTITY,
        "version": VERSION,
        "factors": list(FACTORS),
        "recipes": {name: dict(learned) for name, learned in recipes.items()},
    }
    artefact = {
        **content,
        "sha256": _hash(content, "the forecast artefact", "check the trajectories it was learnt from"),
    }
    learned_by_recipe(artefact)
    return artefact


def shipped_artefact() -> dict[str, Any]:
    """The artefact in the package.

    Raises
    ------
    MissingInputError, ParseError
        It was not built, or it is damaged.
    """
    return read_artefact(Path(str(resources.files("massact"))) / "artefacts" / "forecast.json", again=_REINSTALL)


def read_artefact(path: str | Path, *, again: str = _REMAKE) -> dict[str, Any]:
    """The artefact in a file, with its kind, version and hash checked.

    Parameters
    ----------
    path
        A regular file that stage=predict wrote.
    again
        The remedy in the messages.

    Raises
    ------
    MissingInputError
        There is no such file, or it cannot be read.
    ParseError
        It is not a forecast artefact, or it is damaged.
    """
    path, name = Path(path), _short(path, most=300)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ParseError(f"{name} is not a regular file", "give the file that stage=predict wrote")
        if status.st_size > MOST_BYTES:
            raise ParseError(f"{name} has {status.st_size:,} bytes: not a forecast artefact", again)
        artefact = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise MissingInputError(f"{name} does not exist", again) from None
    except OSError as error:
        raise MissingInputError(f"{name} cannot be read ({error.strerror})", "give a file you can read") from None
    except (ValueError, RecursionError):
        raise ParseError(f"{name} is not a forecast artefact, or is damaged: not JSON", again) from None
    learned_by_recipe(artefact, where=name, again=again)
    return artefact


def learned_by_recipe(
    artefact: Mapping[str, Any], *, where: str = "the forecast artefact", again: str = _REMAKE
) -> dict[str, Learned]:
    """The model of each recipe in an artefact.

    Raises
    ------
    ParseError
        The kind, version or hash is wrong, or a value is invalid.
    """
    if not isinstance(artefact, Mapping) or artefact.get("kind") != KIND:
        old = isinstance(artefact, Mapping) and "kind" not in artefact and "recipes" in artefact
        reason = "is a forecast artefact without kind and hash" if old else "is not a forecast artefact"
        raise ParseError(f"{where} {reason}", again)
    if artefact.get("version") != VERSION:
        raise ParseError(
            f"{where} has version {_short(artefact.get('version'))}; this massact reads version {VERSION}", again
        )
    content = {name: value for name, value in artefact.items() if name != "sha256"}
    if artefact.get("sha256") != _hash(content, where, again):
        raise ParseError(f"{where} is damaged: its content does not match its hash", again)
    if artefact.get("quantity") != QUANTITY or artefact.get("factors") != list(FACTORS):
        raise ParseError(f"{where} was learnt from factors that this massact does not have", again)
    recipes = artefact.get("recipes")
    if not isinstance(recipes, Mapping) or not recipes:
        raise ParseError(f"{where} contains no recipe", again)
    models = {}
    for name, entry in recipes.items():
        try:
            models[str(name)] = _learned(entry)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ParseError(f"{where}, recipe {_short(name)}: {_short(what)}", again) from None
    return models


def _learned(entry: Mapping[str, Any]) -> Learned:
    """The model of one recipe's entry. ValueError, KeyError, TypeError or OverflowError says what is invalid."""
    n = len(FACTORS)
    steps = _whole("steps", entry["steps"])
    if len(steps) < 2 or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError("steps are not ascending steps")
    low, high, spread = (_array(name, entry[name], (n,)) for name in ("low", "high", "spread"))
    if (spread <= 0).any() or (low > high).any():
        raise ValueError("spread, low and high are inconsistent")
    components = _array("components", entry["components"], (None, len(steps)))
    x = _array("x", entry["x"], (None, n))
    processes = entry["processes"]
    if not isinstance(processes, list) or len(processes) != len(components):
        raise ValueError("there is not one process for each component")
    return Learned(
        tokens_per_step=_positive("tokens_per_step", entry["tokens_per_step"]),
        architectures=_positive("architectures", entry["architectures"]),
        trainings=_positive("trainings", entry["trainings"]),
        steps=steps,
        ranges={name: _range(name, entry["ranges"][name]) for name in SIZES},
        choices={name: _values(name, entry["choices"][name]) for name in CHOICES},
        unused={name: _values(name, entry["unused"][name]) for name in UNUSED},
        centre=_array("centre", entry["centre"], (n,)),
        spread=spread,
        low=low,
        high=high,
        mean=_array("mean", entry["mean"], (len(steps),)),
        components=components,
        x=x,
        depth=_array("depth", entry["depth"], (len(x), 1)),
        processes=tuple(_process(process, len(x)) for process in processes),
        held_out=HeldOut(
            _array("residuals", entry["residuals"], (len(x), len(steps))),
            _numbers("training", entry["training"], len(x)),
            _numbers("design", entry["design"], len(x)),
            _flags("parallel", entry["parallel"], len(x)),
        ),
    )


def _process(entry: Mapping[str, Any], rows: int) -> Process:
    scales = [
        _array(name, entry[name], (size,))
        for name, size in (("architecture", len(FACTORS)), ("layer", 1), ("product", 1), ("amplitudes", 3))
    ]
    if any((values <= 0).any() for values in scales):
        raise ValueError("a process has a scale that is not positive")
    mean, unit = _array("mean and unit", [entry["mean"], entry["unit"]], (2,))
    return Process(Kernels(*scales), _array("alpha", entry["alpha"], (rows,)), float(mean), float(unit))


def _numbers(name: str, value: Any, length: int) -> Int[ndarray, " number"]:
    numbers = _whole(name, value)
    if len(numbers) != length:
        raise ValueError(f"{name} is not a list of {length} integers")
    return numbers


def _flags(name: str, value: Any, length: int) -> Bool[ndarray, " flag"]:
    if not isinstance(value, list) or len(value) != length or not all(isinstance(one, bool) for one in value):
        raise ValueError(f"{name} is not a list of {length} truth values")
    return np.array(value)


def _array(name: str, value: Any, shape: tuple[int | None, ...]) -> ndarray:
    """An array of finite numbers of this shape. None stands for any length except 0."""
    array = np.array(value if _plain(value) else [], dtype=np.float64)
    fits = len(array.shape) == len(shape) and all(
        expected in (None, length) and length for expected, length in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.isfinite(array).all():
        expected = " x ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} is not an array of {expected} finite numbers")
    return array


def _plain(value: Any) -> bool:
    """Whether a value is a number, or nested lists of numbers. Booleans are not numbers."""
    if isinstance(value, list):
        return all(map(_plain, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(name: str, value: Any) -> Int[ndarray, " number"]:
    if not isinstance(value, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in value):
        raise ValueError(f"{name} is not a list of integers")
    return np.array(value, dtype=np.int64)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**53:
        raise ValueError(f"{name} is not a positive integer")
    return value


def _range(name: str, value: Any) -> tuple[int, int]:
    low, high = _whole(name, value).tolist()
    if not 1 <= low <= high <= LARGEST[name]:
        raise ValueError(f"the range of {name} is invalid")
    return low, high


def _values(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, bool | int | float) for one in value):
        raise ValueError(f"the values of {name} are not a list of numbers")
    return tuple(value)


def _hash(content: Mapping[str, Any], where: str, again: str) -> str:
    """The hash of the content, independent of its layout in a file."""
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ParseError(f"{where} contains a value that is not finite or not JSON", again) from None
    return hashlib.sha256(text.encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON pairs; ValueError if a name is repeated."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is repeated")
    return members


def _short(value: Any, most: int = 80) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
