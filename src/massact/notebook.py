"""Measure, fit and draw in a notebook: `massact.measure_checkpoints`, `massact.fit_table`, `massact.plot`.

The table of `measure_checkpoints` is the one that `massact measure` writes: a DataFrame of schema
`massact.trajectories.RECORDS`, so that `massact.aggregate` and every other function of records takes it. Its provenance
(the file's metadata) is in `.attrs`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from massact.errors import CheckpointError, ConfigError, TableError
from massact.extract.options import MAGNITUDES
from massact.extras import extras_named
from massact.folders import RESULTS
from massact.layers import LAST, layers_text
from massact.own import measured_words, quoted
from massact.shipped import CONF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from massact.extract.store import RecordStore

QUOTED = "quoted"
_REMEDY = "pass a table of measure_checkpoints; selections of its rows keep .attrs"


@extras_named()
def measure_checkpoints(
    where: str | Path,
    *,
    steps: str | int | Iterable[int] | None = None,
    probe: Any = None,
    sequences: int | None = None,
    length: int | None = None,
    dtype: str | None = None,
    device: str | None = None,
    layers: str | Iterable[int | str] | None = None,
    name: str | None = None,
    store: str | Path | RecordStore | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure the checkpoints of a folder, a repository of the Hub or a known model, as `massact measure` does.

    Both share the record store, so that nothing is measured twice. None means the command's own choice.

    Parameters
    ----------
    where
        A folder of checkpoints (`step1000/`, `checkpoint-1000/`, ...) or of one model; `hub:OWNER/NAME`; or a known
        model such as `pythia-70m`.
    steps
        `all` (default), `log` (24, evenly in log step), `last`, or the steps themselves.
    probe
        A text file (.txt), a file of token ids (.npy), `random`, or token ids of shape (sequence, position). Default:
        the shipped text in the model's own tokens.
    sequences, length
        Number of sequences (10, or all of your own token ids), and tokens in each (at most 1,024).
    dtype, device
        `float32` (default), `float16` or `bfloat16`; `auto` (default), `cpu` or `cuda`.
    layers
        Layers in the table, `"0,3-5,last"` or `[0, 3, "last"]`; all by default. The records have all layers.
    name
        What tables call the model; the folder's name by default.
    store
        The folder of the records, or a `RecordStore`; default `massact-results/records`.
    progress
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        One row per (step, layer, sequence), schema `massact.trajectories.RECORDS`. `.attrs` has the architecture, the
        hashes of weights and tokens, the probe, `suspects` and `failed`: steps with the reason. Failed steps are logged
        as warnings too.

    Raises
    ------
    ConfigError, MissingInputError
        A value that cannot be meant; a place that is neither a folder nor a known name.
    CheckpointError
        When no checkpoint could be measured.
    """
    from massact.preflight import preflight
    from massact.stages.extract import extract

    folder = Path(RESULTS) / "records" if store is None else Path(str(getattr(store, "folder", store)))
    ids = None if probe is None or isinstance(probe, str | Path) else _ids(probe)
    if ids is not None:
        probe = _kept(ids, folder.parent)
        sequences = len(ids) if sequences is None else sequences
    words = measured_words(
        str(where), _steps(steps), last=steps == LAST, name=name, probe=probe, sequences=sequences, length=length,
        layers=None if layers is None else layers_text(layers), dtype=dtype, device=device,
    )  # fmt: skip
    with _hydra_aside():
        (config,) = preflight(["stage=measure", f"paths.records={quoted(folder)}", *words], CONF, multirun=False)
    extractions, failures = extract(config, progress=progress)
    extraction = next((each for each in extractions if each.statistic.name == MAGNITUDES), None)
    if extraction is None:
        raise CheckpointError(*failures[0])
    table: Any = extraction.records  # pandas' stubs do not let .attrs be set
    table.attrs = dict(extraction.metadata)
    return table


@extras_named()
def fit_table(
    table: pd.DataFrame,
    *,
    form: str = "eq9",
    quantities: Sequence[str] | None = None,
    aggregation: str = "ratio_of_means",
    suspects: bool = False,
    resamples: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fit every layer of a table of `measure_checkpoints`, as `massact measure` does.

    Parameters
    ----------
    form
        A key of `massact.fit.FORMS`.
    quantities
        `ratio`, `top1`, `median`; all by default.
    aggregation
        `ratio_of_means` (Eq. 8 of the paper) or `mean_of_ratios` (Eq. 6).
    suspects
        Whether to fit checkpoints whose weights are not their own.
    resamples
        Resamples of the input sequences, for the intervals of derived quantities; 0: none.

    Returns
    -------
    DataFrame
        One row per layer and quantity, schema `massact.fit.schemas.fits_schema(form)`, and a last column `quoted`: the
        parameters that may be quoted, with their standard errors, as text. `print(massact.fit.brief(fits))` shows
        everything that may be quoted.

    Raises
    ------
    TableError
        A table without its provenance in `.attrs`.
    ConfigError, FitError
        An unknown form, quantity or aggregation; fits of suspect checkpoints alone.
    """
    from massact.fit.many import RESAMPLES
    from massact.fit.overview import quoted_parameters
    from massact.stages.fit import fits_of
    from massact.trajectories.schemas import FITTED

    metadata = provenance_of(table)
    fits = fits_of(
        table,
        metadata,
        form=form,
        quantities=list(FITTED if quantities is None else quantities),
        aggregation=aggregation,
        suspects=suspects,
        resamples=RESAMPLES if resamples is None else resamples,
        progress=progress,
    )
    rows: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in fits.to_dict("records")]
    fits[QUOTED] = [quoted_parameters(row) for row in rows]
    fits.attrs = {
        "form": form,
        "aggregation": aggregation,
        "architecture": metadata["architecture"],
        "last_step": int(table["step"].to_numpy().max()),
    }
    return fits


@extras_named()
def plot(
    table: pd.DataFrame,
    fits: pd.DataFrame | None = None,
    *,
    quantities: Sequence[str] | str | None = None,
    layers: str | Iterable[int | str] | None = None,
) -> Figure:
    """Draw a table of `measure_checkpoints` or of `fit_table`: one panel per quantity, one colour per layer.

    Measured values have a band, the 95 % interval over sequences. The step axis is logarithmic, and linear below 1.

    Parameters
    ----------
    table
        Measured values, or fits: their curves alone.
    fits
        Fits to draw over the measured values.
    quantities
        `ratio`, `top1`, `median`; all in the table by default.
    layers
        As in `measure_checkpoints`.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it when a cell ends with it; `figure.savefig("figure.png")` writes it.

    Raises
    ------
    TableError
        A table that is neither, or has none of the quantities or layers.
    """
    from massact.report.plot_table import table_figure
    from massact.trajectories.aggregation import aggregate

    if table.empty:
        raise TableError("the table has no rows", _REMEDY)
    if {"r2", "form"} <= set(table.columns):
        measured, fits, attrs = None, table, table.attrs
    elif {"top1", "median", "sequence"} <= set(table.columns):
        measured, attrs = aggregate(table), table.attrs
    else:
        raise TableError("the table has neither records nor fits", _REMEDY)
    wanted = [quantities] if isinstance(quantities, str) else quantities
    chosen = None if layers is None else layers_text(layers)
    architecture = attrs.get("architecture", {})
    return table_figure(
        measured, fits, quantities=wanted, layers=chosen, n_layers=architecture.get("n_layers"),
        last=attrs.get("last_step"),
    )  # fmt: skip


def provenance_of(table: pd.DataFrame) -> Mapping[str, Any]:
    """The provenance of a table of `measure_checkpoints`.

    Raises
    ------
    TableError
        When it is lost, as by `pd.concat` of several tables.
    """
    attrs: Mapping[str, Any] = getattr(table, "attrs", {})
    if "architecture" not in attrs:
        raise TableError("the table does not say in .attrs which model was measured", _REMEDY)
    return attrs


@contextmanager
def _hydra_aside() -> Generator[None, None, None]:
    """Compose within a program that uses Hydra itself, whose state is as before afterwards."""
    from hydra.core.global_hydra import GlobalHydra

    before = GlobalHydra.instance().hydra
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before


def _steps(steps: str | int | Iterable[int] | None) -> str | None:
    """The argument as text; None: every step, or the last one."""
    if steps is None or isinstance(steps, str):
        return None if steps == LAST else steps
    try:
        return ",".join(str(int(step)) for step in ([steps] if isinstance(steps, int) else steps))
    except (TypeError, ValueError):
        raise ConfigError(f"steps = {str(steps)[:60]!a}", "give all, log, last, or whole numbers") from None


def _ids(probe: Any) -> Any:
    from massact.extract.token_ids import token_ids

    return token_ids(probe)


def _kept(ids: Any, folder: Path) -> Path:
    """A file with these token ids, named by their hash: the probe of a configuration is a file."""
    import numpy as np

    from massact.disk import replacing

    content = io.BytesIO()
    np.save(content, ids)
    path = folder / "probes" / f"ids-{hashlib.sha256(content.getvalue()).hexdigest()[:12]}.npy"
    if not path.is_file():
        with replacing(path, len(content.getvalue())) as partial:
            partial.write_bytes(content.getvalue())
    return path
