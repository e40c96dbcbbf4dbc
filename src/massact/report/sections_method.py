"""Section 8: definitions, provenance, training, and how to reproduce the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from massact.report.embed import Embedder
from massact.report.inputs import ReportInputs
from massact.report.markup import MISSING, Html, folded, join, number, paragraph, table, tag
from massact.report.plot_trajectories import loss_figure
from massact.report.sections_measured import missing

PAPER = "https://arxiv.org/abs/2508.03616"
RECIPE_NUMBERS = ("steps", "batch", "window", "learning_rate", "warmup", "weight_decay", "vocab_size")
HASH_LENGTH = 12


def method_section(inputs: ReportInputs, embed: Embedder) -> Html:
    """Definitions, provenance, training, and the command that makes this page."""
    return join([_definitions(), _provenance(inputs), _training(inputs, embed), _reproduce()])


def _definitions() -> Html:
    paper = tag("a", "arXiv 2508.03616", href=PAPER)
    terms = [
        (
            "h",
            "the residual stream after a block (attention and MLP added), before the final norm; layer 0 is the "
            "first block, the paper's l is layer + 1",
        ),
        (
            "ratio",
            "mean over probe sequences of the largest |h|, divided by the mean over sequences of the lower median "
            "of |h|, over all positions and dimensions of a layer",
        ),
        ("top-1, median", "numerator and denominator of the ratio; all three are unitless"),
        (
            "95 % interval",
            "standard error over probe sequences times Student's t; every checkpoint reads the same "
            "sequences, so errors are correlated along a curve",
        ),
        ("Eq. 9", "A exp(−λx) log(x) + K with x = γt + t₀, t in training steps"),
        ("Eq. 14", "exp(−βt) (A₁ log(t + τ₀) + A₂) + K, the same curves written with three linear parameters"),
        ("T", "the last measured step"),
    ]
    listed = join(join([tag("dt", term), tag("dd", meaning)]) for term, meaning in terms)
    intro = paragraph(
        "Every checkpoint reads the same probe sequences. For each sequence and layer the three largest |h| and the "
        "median are kept. The ratio is Eq. 8 of ",
        paper,
        " unless the run was configured to average per-sequence ratios (Eq. 6).",
    )
    return join([intro, tag("dl", listed)])


def _provenance(inputs: ReportInputs) -> Html:
    title = tag("h3", "Provenance")
    if not inputs.provenance:
        return join([title, missing("There is no provenance yet.")])
    header = [
        "model",
        "seed",
        "source",
        "last revision",
        "last weights",
        "probe tokens",
        "probe",
        "dtype",
        "protocol",
        "checkpoints",
    ]
    rows = []
    for entry in inputs.provenance:
        last = _last_checkpoint(entry)
        rows.append(
            [
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
        )
    note = paragraph(
        "Hashes are the first digits of SHA-256. Two steps with equal weights would be named at the top of this page. "
        "Steps 0 and 1 may be equal if the first update has a learning rate of zero.",
        class_="note",
    )
    folds = [_checkpoints(entry) for entry in inputs.provenance if entry.get("checkpoints")]
    return join([title, table(header, rows, words=(0, 2, 3, 4, 5, 6, 7)), note, *folds])


def _training(inputs: ReportInputs, embed: Embedder) -> Html:
    if not inputs.training:
        return Html("")
    header = [
        "model",
        "recipe",
        *(name.replace("_", " ") for name in RECIPE_NUMBERS),
        "last loss",
        "last held-out loss",
    ]
    rows, logs = [], {}
    for model, entry in inputs.training.items():
        recipe = entry.get("recipe") or {}
        log = entry.get("log") or []
        end = log[-1] if log else {}
        rows.append(
            [
                model,
                _text(recipe.get("name")),
                *(number(recipe.get(name)) for name in RECIPE_NUMBERS),
                number(end.get("loss")),
                number(end.get("validation_loss")),
            ]
        )
        if log:
            logs[model] = log
    parts = [tag("h3", "Training"), table(header, rows, words=(0, 1))]
    if logs:
        parts.append(
            embed.figure(
                loss_figure(logs),
                "Training and held-out loss over training steps of the models trained here.",
                "Loss at each checkpoint: solid for one training batch (noisy), dashed for held-out text. What to "
                "look for: where the lines part, the model begins to memorise, and later activations reflect that.",
            )
        )
    return join(parts)


def _reproduce() -> Html:
    return join(
        [
            tag("h3", "How to reproduce this page"),
            paragraph(
                tag("code", "make repro"),
                " on a fresh clone sets up the environment, pulls the checkpoints, measures, "
                "fits, predicts and writes this page. With one version of matplotlib, the same tables give the same "
                "bytes.",
            ),
        ]
    )


def _checkpoints(entry: Mapping[str, Any]) -> Html:
    steps = sorted(entry["checkpoints"].items(), key=lambda item: int(item[0]))
    rows = [
        [f"{int(step):,}", _short(identity.get("revision_loaded")), _short(identity.get("weights_sha256"))]
        for step, identity in steps
    ]
    name = f"{_text(entry.get('model'))}, seed {_text(entry.get('seed'))}: weights of each checkpoint"
    failed = [f"step {step}: {reason}" for step, reason in sorted((entry.get("failed") or {}).items())]
    return folded(name, table(["step", "revision", "weights"], rows, words=(1, 2)), *map(paragraph, failed))


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


def _short(value: Any) -> Html:
    return tag("code", str(value)[:HASH_LENGTH]) if value else Html(MISSING)


def _text(value: Any) -> str:
    return MISSING if value is None else str(value)
