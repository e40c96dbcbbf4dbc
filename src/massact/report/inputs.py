"""The inputs of a report, and their names on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from massact.errors import TableError
from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic
from massact.fit.forms import FORMS
from massact.fit.schemas import ARCHITECTURE, fits_schema
from massact.predict.schemas import PREDICTIONS, SCORES
from massact.report.frames import rows_of, where, words
from massact.tables import Schema
from massact.trajectories.schemas import RECORDS, TRAJECTORIES, trajectories_schema

RUN = ["family", "recipe", "model", "seed"]
SLICE = ["recipe", "form", "quantity"]
BASELINES = ("mean", "nearest")
Slice = tuple[str, str, str]


class TrainingRun(NamedTuple):
    """A measured training run."""

    family: str
    recipe: str
    model: str
    seed: int


@dataclass(frozen=True)
class StatisticTables:
    """The tables of a statistic of any kind, for all models.

    Attributes
    ----------
    trajectories
        Schema `trajectories_schema(statistic)`.
    fits
        By form, each of `fits_schema(form)`, per head if the statistic is.
    """

    statistic: Statistic
    trajectories: pd.DataFrame
    fits: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def checked(self) -> StatisticTables:
        """The same tables, validated.

        Raises
        ------
        TableError
            A table violates its schema, or there are fits of an unknown form.
        """
        trajectories = _checked(self.trajectories, trajectories_schema(self.statistic))
        return replace(self, trajectories=trajectories, fits=_checked_fits(self.fits, self.statistic))


@dataclass(frozen=True)
class ReportInputs:
    """The tables of all models. Any may be empty; its section then says how to make it.

    Parameters
    ----------
    trajectories, records, scores, predictions
        Schemas TRAJECTORIES, RECORDS (at least the last step of each model), SCORES and PREDICTIONS.
    fits
        By form (a key of `FORMS`), each of `fits_schema(form)`.
    provenance
        One mapping per model: hashes of weights and tokens, revisions, number format, protocol version, architecture.
    training
        Recipe, architecture and loss log of each model trained here, by name.
    suspects
        One sentence for each checkpoint that is not what it claims to be.
    others
        Tables of other statistics of the same models.
    predicted
        Whether the page has sections on predictions and their scores.
    """

    trajectories: pd.DataFrame = field(default_factory=pd.DataFrame)
    records: pd.DataFrame = field(default_factory=pd.DataFrame)
    fits: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    provenance: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    suspects: Sequence[str] = ()
    others: Sequence[StatisticTables] = ()
    predicted: bool = True

    def checked(self) -> ReportInputs:
        """The same inputs, with non-empty tables validated and empty fits removed.

        Raises
        ------
        TableError
            A non-empty table violates its schema, or there are fits of an unknown form.
        """
        return replace(
            self,
            trajectories=_checked(self.trajectories, TRAJECTORIES),
            records=_checked(self.records, RECORDS),
            fits=_checked_fits(self.fits, DEFAULT),
            scores=_checked(self.scores, SCORES),
            predictions=_checked(self.predictions, PREDICTIONS),
            others=[tables.checked() for tables in self.others],
        )

    @property
    def runs(self) -> list[TrainingRun]:
        """All measured training runs, ordered by recipe, family, name and seed."""
        if self.trajectories.empty:
            return []
        return runs_of(self.trajectories)

    @property
    def named(self) -> dict[TrainingRun, str]:
        """The name on the page of every run that was measured or fitted."""
        fitted = [run for frame in self.fits.values() for run in runs_of(frame)]
        return labels(sorted({*self.runs, *fitted}))

    @property
    def main_form(self) -> str | None:
        """The form whose regimes and targets are shown first: Eq. 9 if it was fitted."""
        return next(iter(self.fits), None)


def runs_of(frame: pd.DataFrame) -> list[TrainingRun]:
    """The runs in a table, ordered by recipe, family, name and seed."""
    rows = rows_of(pd.DataFrame(frame[RUN]).drop_duplicates())
    runs = [TrainingRun(str(row["family"]), str(row["recipe"]), str(row["model"]), int(row["seed"])) for row in rows]
    return sorted(runs, key=lambda run: (run.recipe, *run))


def of_run(frame: pd.DataFrame, run: TrainingRun) -> pd.DataFrame:
    """Rows of one run."""
    return frame if frame.empty else where(frame, **run._asdict())


def slices(frame: pd.DataFrame) -> list[Slice]:
    """Every scored (recipe, form, quantity), with Eq. 9's ratio of each recipe first."""
    if frame.empty:
        return []
    rows = set(zip(*(words(frame, name) for name in SLICE), strict=True))
    order = list(FORMS)
    return sorted(rows, key=lambda s: (s[2] != "ratio", order.index(s[1]) if s[1] in order else 9, s))


def of_slice(frame: pd.DataFrame, which: Slice) -> pd.DataFrame:
    """Rows of one (recipe, form, quantity)."""
    return where(frame, **dict(zip(SLICE, which, strict=True)))


def labels(runs: Sequence[TrainingRun]) -> dict[TrainingRun, str]:
    """Names on the page: the model, with seed, recipe and family only where they distinguish runs."""
    named = {}
    for run in runs:
        same = [other for other in runs if other.model == run.model]
        parts = [run.model]
        if run.seed or len({other.seed for other in same}) > 1:
            parts.append(f"seed {run.seed}")
        if len({other.recipe for other in same}) > 1:
            parts.append(run.recipe)
        if len({other.family for other in same}) > 1:
            parts.append(run.family)
        named[run] = ", ".join(parts)
    return named


def architecture_of(inputs: ReportInputs, run: TrainingRun) -> dict[str, Any]:
    """A run's architecture from provenance, training log or fits, in this order; empty if none has it."""
    for entry in inputs.provenance:
        same = entry.get("model") == run.model and entry.get("seed", run.seed) == run.seed
        if same and isinstance(entry.get("architecture"), Mapping):
            return dict(entry["architecture"])
    known = inputs.training.get(run.model, {}).get("architecture")
    if isinstance(known, Mapping):
        return dict(known)
    for frame in inputs.fits.values():
        for row in rows_of(of_run(frame, run))[:1]:
            return {name: row[name] for name in ARCHITECTURE}
    return {}


def _checked(frame: pd.DataFrame | None, schema: Schema) -> pd.DataFrame:
    if frame is None or frame.empty:
        return pd.DataFrame(columns=list(schema.columns))
    return schema.validate(frame)


def _checked_fits(fits: Mapping[str, pd.DataFrame], statistic: Statistic) -> dict[str, pd.DataFrame]:
    """Fits that are not empty, in the order of the forms."""
    unknown = sorted(set(fits) - set(FORMS))
    if unknown:
        raise TableError(f"fits of unknown forms {unknown}", f"known forms: {', '.join(FORMS)}")
    per_head = "head" in statistic.axes
    return {
        form: _checked(fits[form], fits_schema(form, per_head=per_head))
        for form in FORMS
        if form in fits and len(fits[form])
    }
