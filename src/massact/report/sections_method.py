"""Section 8: definitions, provenance, training, and how to reproduce the page: the data of the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from massact.report.formats import MISSING, number
from massact.report.inputs import ReportInputs
from massact.report.plot_trajectories import loss_figure
from massact.report.render import code

RECIPE_NUMBERS = ("steps", "batch", "window", "learning_rate", "warmup", "weight_decay", "vocab_size")
HASH_LENGTH = 12


def method_section(inputs: ReportInputs) -> dict[str, Any]:
    """Provenance and training; the definitions are the template's."""
    logs = {model: entry["log"] for model, entry in inputs.training.items() if entry.get("log")}
    return {
        "provenance": [_provenance_row(entry) for entry in inputs.provenance],
        "checkpoints": [_checkpoints(entry) for entry in inputs.provenance if entry.get("checkpoints")],
        "recipe_numbers": RECIPE_NUMBERS,
        "training": [_training_row(model, entry) for model, entry in inputs.training.items()],
        "losses": loss_figure(logs) if logs else None,
    }


def _provenance_row(entry: Mapping[str, Any]) -> list[str]:
    last = _last_checkpoint(entry)
    return [
        _text(entry.get("model")),
        _text(entry.get("seed")),
        _source(entry.get("source")),
        _short(last.get("revision_loaded") or entry.get("revision_loaded") or entry.get("revision")),
        _short(last.get("weights_sha256") or entry.get("weights_sha256")),
        _short(entry.get("tokens_sha256")),
        _probe(entry.get("probe")),
        _text(entry.get("dtype")),
        _text(entry.get("protocol_version")),
        _counts(entry),
    ]


def _training_row(model: str, entry: Mapping[str, Any]) -> list[str]:
    recipe = entry.get("recipe") or {}
    end = (entry.get("log") or [{}])[-1]
    numbers = [*(recipe.get(name) for name in RECIPE_NUMBERS), end.get("loss"), end.get("validation_loss")]
    return [model, _text(recipe.get("name")), *map(number, numbers)]


def _checkpoints(entry: Mapping[str, Any]) -> tuple[str, str, list[list[str]], list[tuple[str, str]]]:
    """Model, seed, the weights of each step, and the reason of each failure."""
    steps = sorted(entry["checkpoints"].items(), key=lambda item: int(item[0]))
    weights = [
        [f"{int(step):,}", _short(identity.get("revision_loaded")), _short(identity.get("weights_sha256"))]
        for step, identity in steps
    ]
    failures = sorted((entry.get("failed") or {}).items())
    return _text(entry.get("model")), _text(entry.get("seed")), weights, failures


def _last_checkpoint(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    checkpoints = entry.get("checkpoints") or {}
    return checkpoints[max(checkpoints, key=int)] if checkpoints else {}


def _counts(entry: Mapping[str, Any]) -> str:
    failed = len(entry.get("failed") or {})
    return f"{len(entry.get('checkpoints') or {})}" + (f" ({failed} failed)" if failed else "")


def _probe(probe: Any) -> str:
    if not isinstance(probe, Mapping):
        return MISSING
    first = probe.get("first_token", -1)
    begins = "no first token" if first in (-1, None) else f"first token {first}"
    return f"{_text(probe.get('text'))}, {probe.get('length', MISSING)} tokens, {begins}"


def _source(source: Any) -> str:
    """A repository or a relative folder unchanged; the last part of an absolute path."""
    text = _text(source)
    return PurePath(text).name if PurePath(text).is_absolute() else text


def _short(value: Any) -> str:
    return code(str(value)[:HASH_LENGTH]) if value else MISSING


def _text(value: Any) -> str:
    return MISSING if value is None else str(value)
