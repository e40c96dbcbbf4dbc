"""A statistic from a file outside the package: measured, swept, tabled, fitted, logged, plotted, and configured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from massact.checkpoints import FolderSource
from massact.checkpoints.bridge import wrap_model
from massact.cli import main
from massact.errors import MeasureError, NotFiniteError, TableError
from massact.extract import STATISTICS, Magnitudes, Probe, RecordStore, measure, register
from massact.extract.protocol import BRIDGE, PLAIN_HOOKS
from massact.extract.records import records_frame
from massact.extract.sweep import measure_checkpoints
from massact.fit import fit_many, fit_table
from massact.fit.schemas import fits_schema
from massact.fit.sequences import sequence_series
from massact.preflight import preflight
from massact.report.inputs import TrainingRun
from massact.report.plot_fits import overlay_figure, r2_figure
from massact.report.plot_trajectories import heatmap_figure, trajectories_figure
from massact.stages.extract import extract
from massact.stages.measure import run as measure_stage
from massact.tables import read_metadata, read_table, write_table
from massact.train import LiveMeasurement, Subject
from massact.train.live_mlflow import MlflowLogger, step_metrics
from massact.trajectories import aggregate
from massact.trajectories.schemas import records_schema, trajectories_schema
from tests.extract.sweeping import PROBE, QUIET, DiarySource, DiaryStore, lines, write_family
from tests.models import tiny, tiny_model

STEPS = range(8)
AXES = {"family": "f", "recipe": "r", "model": "m", "seed": 0}
ROOT = Path(__file__).parents[1]
OWN = (ROOT / "docs/examples/own_statistic.py").read_text(encoding="utf-8")
SPACE: dict = {"__name__": "own_statistic"}
exec(OWN, SPACE)
HeadNorms = SPACE["HeadNorms"]
HEADS = HeadNorms()
BOTH = (Magnitudes(), HEADS)


def swept(family, folder, statistics=BOTH):
    source, diary = DiarySource(family, folder / "diary"), folder / "diary"
    result, probe = measure_checkpoints(
        source, source.steps(), lambda small: PROBE, DiaryStore(folder / "records", diary),
        dtype="float32", device="cpu", label="tiny", options=QUIET, statistics=statistics,
    )  # fmt: skip
    assert probe is not None and not result.failed
    return result


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("family"), len(STEPS))


@pytest.fixture(scope="module")
def records(family, tmp_path_factory) -> pd.DataFrame:
    measured = swept(family, tmp_path_factory.mktemp("sweep")).measured
    frame = records_frame(measured, PROBE, tokens_per_step=10, statistic=HEADS, **AXES)
    return records_schema(HEADS).validate(frame, "m", {"architecture": tiny().as_dict()})


def heads_of(model, part: str, ids) -> np.ndarray:
    """(sequence, layer, head), by hooks written here."""
    inputs: list[torch.Tensor] = []
    modules = [module for name, module in model.named_modules() if name.endswith(part)]
    handles = [module.register_forward_pre_hook(lambda m, args: inputs.append(args[0])) for module in modules]
    with torch.no_grad():
        model(ids)
    for handle in handles:
        handle.remove()
    n_heads = model.config.num_attention_heads
    return torch.stack([t.unflatten(-1, (n_heads, -1)).norm(dim=-1).mean(1) for t in inputs], dim=1).numpy()


MODELS = {
    "attention.dense": tiny_model,
    "self_attn.o_proj": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval(),
    "attn.c_proj": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=3, n_head=4)).eval(),
}  # fmt: skip


@pytest.mark.parametrize("part", MODELS)
def test_it_is_what_hooks_of_ones_own_give(part):
    model, ids = MODELS[part](), torch.from_numpy(PROBE.tokens)
    measurement = measure(model, ids, statistics=(HEADS,), sequences_at_once=len(ids))
    assert measurement.attached == PLAIN_HOOKS
    assert np.array_equal(measurement.arrays("head_norms")["norm"], heads_of(model, part, ids))


def test_a_bridge_gives_the_same():
    plain = measure(tiny_model(), PROBE.tokens, statistics=BOTH)
    bridge = wrap_model(tiny_model(), "tiny", dtype="float32", device="cpu")
    measurement = measure(bridge, PROBE.tokens, statistics=BOTH)
    assert measurement.attached == BRIDGE
    for name in ("magnitudes", "head_norms"):
        assert all(np.array_equal(array, plain.arrays(name)[one]) for one, array in measurement.arrays(name).items())


def test_a_model_without_heads_is_refused():
    class Mixed(HeadNorms):
        def reduce(self, block):
            return super().reduce(type(block)(block.layer, block.tensors, 3))

    with pytest.raises(MeasureError, match=r"layer 0: the input of .* is 16 wide, the model has 3 heads"):
        measure(tiny_model(), PROBE.tokens, statistics=(Mixed(),))


def test_a_statistic_that_is_added_leaves_what_was_measured_as_it_is(family, tmp_path):
    first = swept(family, tmp_path, (Magnitudes(),))
    contents = {path: path.read_bytes() for path in (tmp_path / "records").rglob("*.record")}
    assert len(contents) == len(STEPS)
    both = swept(family, tmp_path)
    written = lines(tmp_path / "diary", "wrote")
    assert len(written) == len(set(written)) == 2 * len(STEPS)  # one more record a step, and none again
    assert all(path.read_bytes() == content for path, content in contents.items())
    for step in STEPS:
        assert np.array_equal(both.measured[step].top, first.measured[step].top)
        alone = measure(tiny_model(seed=step), PROBE.tokens, statistics=(HEADS,)).arrays("head_norms")
        assert all(
            np.array_equal(both.measured[step].arrays("head_norms")[name], array) for name, array in alone.items()
        )
    read = len(lines(tmp_path / "diary", "read"))
    assert swept(family, tmp_path, (HEADS,)).statuses() == dict.fromkeys(STEPS, "stored")
    assert len(lines(tmp_path / "diary", "read")) == read


def test_one_statistic_that_overflows_is_remembered_and_the_other_is_kept(family, tmp_path):
    class Overflows(HeadNorms):
        name = "overflows"

        def reduce(self, block):
            return {name: held * torch.inf for name, held in super().reduce(block).items()}

    def sweep(*statistics):
        return measure_checkpoints(
            FolderSource(family), [0, 1], lambda small: PROBE, RecordStore(tmp_path),
            dtype="float32", device="cpu", label="tiny", options=QUIET, statistics=statistics,
        )[0]  # fmt: skip

    result = sweep(Magnitudes(), Overflows())
    assert result.statuses() == {0: "not_finite", 1: "not_finite"}
    assert sweep(Magnitudes()).statuses() == {0: "stored", 1: "stored"}
    assert not sweep(Overflows()).seconds


def test_its_table_is_written_and_read_and_held_to_its_own_schema(records, tmp_path):
    schema = records_schema(HEADS)
    path = tmp_path / "heads.parquet"
    write_table(records, path, schema, {"architecture": tiny().as_dict()})
    pd.testing.assert_frame_equal(read_table(path, schema), records)
    assert len(records) == len(STEPS) * 2 * 2 * len(PROBE.tokens)
    assert list(schema.columns)[6:11] == ["layer", "head", "probe_length", "first_token", "sequence"]
    assert schema.columns["norm"].meaning == "mean norm of a head's output, unitless"
    with pytest.raises(TableError, match="heads are those of the model"):
        schema.validate(records.assign(head=records["head"] + 1), "m", {"architecture": tiny().as_dict()})
    with pytest.raises(TableError, match="all steps of a training have the same layers"):
        schema.validate(records.iloc[len(PROBE.tokens) :], "m")
    with pytest.raises(TableError, match="records"):
        read_table(path, records_schema())


def test_it_is_aggregated_by_head_and_fitted_with_intervals(records):
    trajectories = aggregate(records, statistic=HEADS)
    assert list(trajectories.columns) == list(trajectories_schema(HEADS).columns)
    one = records.query("step == 3 and layer == 1 and head == 0")
    row = trajectories.query("step == 3 and layer == 1 and head == 0").set_index("quantity")
    assert row.loc["head_norm", "value"] == one["norm"].astype(float).mean()
    assert row.loc["head_share", "value"] == one["first"].astype(float).mean() / one["norm"].astype(float).mean()
    fits = fit_table(
        trajectories, tiny().as_dict(), form="log", quantities=HEADS.fitted,
        sequences=sequence_series(records, "ratio_of_means", HEADS), resamples=20,
    )  # fmt: skip
    assert fits[["layer", "head", "quantity"]].to_numpy().tolist() == [
        [layer, head, "head_norm"] for layer in (0, 1) for head in (0, 1)
    ]
    assert np.isfinite(fits["f_end_lower"]).all()
    series = trajectories.query("quantity == 'head_norm'").sort_values(["layer", "head", "step"])
    alone = fit_many(np.array(STEPS), series["value"].to_numpy().reshape(4, -1), form="log")
    assert np.allclose(alone["f_end"], fits["f_end"], rtol=1e-9)


RUN = TrainingRun(**AXES)


@pytest.fixture(scope="module")
def trajectories(records) -> pd.DataFrame:
    return aggregate(records, statistic=HEADS)


def many_heads(trajectories: pd.DataFrame, times: int) -> pd.DataFrame:
    return pd.concat([trajectories.assign(head=trajectories["head"] + 2 * at) for at in range(times)])


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def test_it_is_plotted_with_a_line_a_head(trajectories):
    figure = trajectories_figure(trajectories, [RUN], {RUN: "mine"}, HEADS)
    assert [axes.get_ylabel() for axes in figure.axes] == ["norm of a head's output", "first token's share"]
    assert titles(figure) == ["mine, one line per head"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["layer 0", "layer 1"]
    for axes, quantity in zip(figure.axes, HEADS.quantities, strict=True):
        rows = trajectories[trajectories["quantity"] == quantity]
        drawn = sorted(tuple(line.get_ydata()) for line in axes.lines)
        assert drawn == sorted(tuple(one["value"]) for _, one in rows.sort_values("step").groupby(["layer", "head"]))
        assert len(axes.collections) == 4  # bands


def test_many_heads_are_thin_lines_with_their_median(trajectories):
    axes = trajectories_figure(many_heads(trajectories, 10), statistic=HEADS).axes[0]
    widths = [line.get_linewidth() for line in axes.lines]
    assert [widths.count(width) for width in sorted(set(widths))] == [40, 2]
    assert not axes.collections


def test_it_is_mapped_with_a_row_a_head(trajectories):
    figure = heatmap_figure(trajectories, [RUN], {RUN: "mine"}, HEADS, "head_share")
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.0", "0.1", "1.0", "1.1"]
    assert (axes.get_ylabel(), bar.get_ylabel()) == ("layer.head", "first token's share")
    shares = trajectories.query("quantity == 'head_share'").sort_values(["layer", "head", "step"])
    assert np.array_equal(axes.collections[0].get_array(), shares["value"].to_numpy().reshape(4, -1))
    one = heatmap_figure(trajectories.query("head == 1"), statistic=HEADS)
    assert [axes.get_ylabel() for axes in one.axes] == ["layer (head 1)", "norm of a head's output"]
    many = heatmap_figure(many_heads(trajectories, 10), statistic=HEADS).axes[0]
    assert [text.get_text() for text in many.get_yticklabels()] == ["0", "1"]
    assert list(many.get_yticks()) == [9.5, 29.5]
    assert many.get_ylabel() == "layer, one row per head"


def test_its_fits_are_drawn_with_a_panel_a_head(trajectories):
    fits = {
        form: fit_table(trajectories, tiny().as_dict(), form=form, quantities=HEADS.fitted, resamples=0)
        for form in ("log", "power")
    }
    figure = overlay_figure(trajectories, fits, RUN, statistic=HEADS)
    assert [title.partition(" · ")[0] for title in titles(figure)] == [
        "layer 0, head 0", "layer 0, head 1", "layer 1, head 0", "layer 1, head 1",
    ]  # fmt: skip
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(figure.axes) == 2 * len(panels) == 8
    assert [axes.get_ylabel() for axes in panels] == ["norm of a head's output", ""] * 2
    assert all(len(axes.lines) == 1 + len(fits) for axes in panels)  # the points, and the fitted forms
    measured = trajectories.query("quantity == 'head_norm' and layer == 1 and head == 0").sort_values("step")
    assert np.array_equal(panels[2].lines[-1].get_ydata(), measured["value"])
    chosen = overlay_figure(many_heads(trajectories.query("layer == 1"), 10), fits, RUN, statistic=HEADS)
    shown = [title.partition("\n")[0] for title in titles(chosen)]
    assert shown == [f"layer 1, head {head}" for head in (0, 2, 4, 6, 8, 10, 12, 14, 16, 19)]  # evenly, with the last
    points = r2_figure(fits, [RUN], {RUN: "mine"}, "head_norm").axes[0]
    assert sum(len(line.get_xdata()) for line in points.lines) == 2 * 4


def live(folder, statistics=BOTH, loggers=()) -> LiveMeasurement:
    subject = Subject(**AXES, architecture=tiny().as_dict(), tokens_per_step=10)
    return LiveMeasurement(
        subject, Probe.of(PROBE.tokens), STEPS, store=RecordStore(folder / "records"),
        journal=folder / "journal.json", statistics=statistics, loggers=loggers,
    )  # fmt: skip


def test_it_is_measured_live_and_its_table_is_that_of_a_sweep(family, records, tmp_path):
    watch = live(tmp_path)
    for step in STEPS:
        measurement = watch(step, tiny_model(seed=step))
        assert measurement is not None and list(measurement.reduced) == ["magnitudes", "head_norms"]
    watch.end()
    again = live(tmp_path)
    pd.testing.assert_frame_equal(again.records(HEADS), records)
    again.write(tmp_path / "heads.parquet", HEADS)
    again.write(tmp_path / "magnitudes.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "heads.parquet", records_schema(HEADS)), records)
    measured = swept(family, tmp_path / "sweep").measured
    ours = records_frame(measured, Probe.of(PROBE.tokens), tokens_per_step=10, **AXES)
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "magnitudes.parquet", records_schema()), records_schema().validate(ours)
    )


def test_a_training_that_goes_on_may_have_one_statistic_more(tmp_path):
    before = live(tmp_path, (Magnitudes(),))
    for step in (0, 1):
        before(step, tiny_model(seed=step))
    before.end()
    entries = json.loads((tmp_path / "journal.json").read_text())["steps"]
    plain = ["step", "weights_sha256", "decoder_sha256", "settings", "dtype", "key"]
    assert [list(entry) for entry in entries.values()] == [plain, plain]  # as before there were others
    after = live(tmp_path)
    measurement = after(1, tiny_model(seed=1))
    assert measurement is not None and sorted(measurement.reduced) == ["head_norms", "magnitudes"]
    assert after(1, tiny_model(seed=1)) is None
    after(2, tiny_model(seed=2))
    assert sorted(after.result().measured) == [0, 1, 2]
    assert sorted(set(after.records(HEADS)["step"])) == [1, 2]
    assert sorted(set(after.records()["step"])) == [0, 1, 2]
    after.end()
    entries = json.loads((tmp_path / "journal.json").read_text())["steps"]
    assert entries["0"].keys() == set(plain) and list(entries["1"]["others"]) == ["head_norms"]
    assert sorted(live(tmp_path, (Magnitudes(),)).result().measured) == [0, 1, 2]


def test_its_metrics_are_logged_by_layer_and_head_and_added_to_the_run(tmp_path):
    from mlflow import MlflowClient

    measurement = measure(tiny_model(), PROBE.tokens, statistics=BOTH)
    metrics = step_metrics(measurement)
    assert sorted({name.partition("/")[0] for name in metrics}) == [
        "head_norm",
        "head_share",
        "median",
        "ratio",
        "top1",
    ]
    norm = measurement.arrays("head_norms")["norm"][:, 1, 0].mean(dtype=np.float64)
    assert metrics["head_norm/layer01/head00"] == norm
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for statistics in ((Magnitudes(),), BOTH):
        subject = live(tmp_path / "x").subject
        logger = MlflowLogger(subject, Probe.of(PROBE.tokens), tracking_uri=uri)
        watch = live(tmp_path, statistics, loggers=[logger])
        for step in (0, 1):
            watch(step, tiny_model(seed=step))
        watch.end()
    client = MlflowClient(uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len([run for run in runs if run.data.metrics]) == 1  # the same training: one run
    metric = client.get_metric_history(runs[0].info.run_id, "head_norm/layer01/head00")
    assert [entry.step for entry in metric] == [0, 1]
    assert len(client.get_metric_history(runs[0].info.run_id, "ratio/layer00")) == 2


def test_a_checkpoint_it_cannot_be_measured_on_is_a_failure_of_that_step_alone(tmp_path):
    watch = live(tmp_path)
    watch(0, tiny_model())
    broken = tiny_model(seed=1)
    with torch.no_grad():
        broken.gpt_neox.layers[1].attention.query_key_value.weight.fill_(torch.inf)
    assert watch(1, broken) is None
    assert watch.result().statuses() == {0: "stored", 1: "not_finite"}
    key = watch._journal.entries[1].keys["head_norms"]
    assert isinstance(RecordStore(tmp_path / "records").read(key), NotFiniteError)


POCKET = ["stage=extract", "model=pocket-a", "probe.sequences=2", "checkpoints=list", "checkpoints.steps=[0,1]"]


def test_an_installed_package_brings_it_to_the_command_line(tmp_path):
    (tmp_path / "own_statistic.py").write_text(OWN)
    package = tmp_path / "own_statistic-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-statistic\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[massact.statistics]\nhead_norms = own_statistic:HeadNorms\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "run.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    def extraction(job: str, *arguments: str) -> Path:
        done = run(*POCKET, f"paths.records={tmp_path}/records", f"hydra.run.dir={tmp_path / job}", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return tmp_path / job / "extracted"

    alone = extraction("alone")
    kept = {path: path.read_bytes() for path in (tmp_path / "records").rglob("*.record")}
    both = extraction("both", "extract.statistics=[magnitudes,head_norms]")
    tables = ["pocket-a-seed0.head_norms.parquet", "pocket-a-seed0.parquet"]
    assert sorted(path.name for path in both.glob("*.parquet")) == tables
    assert (both / tables[1]).read_bytes() == (alone / tables[1]).read_bytes()
    assert all(path.read_bytes() == content for path, content in kept.items())
    records = read_table(both / tables[0], records_schema(HEADS))
    assert records.groupby("step").size().to_dict() == dict.fromkeys((0, 1), 3 * 4 * 2)  # layers, heads, sequences
    assert read_metadata(both / tables[0])["statistic"] == {"name": "head_norms", "version": 1}
    runtime = json.loads((both / tables[0]).with_suffix(".runtime.json").read_text())
    assert runtime["statuses"] == {"0": "measured", "1": "measured"}
    assert "  magnitudes head_norms" in run("--help").stdout
    done = run(*POCKET, "extract.statistics=[head_norm]")
    assert done.returncode == 2
    assert "extract.statistics = head_norm is not known; nearest: head_norms" in done.stderr


def test_it_is_measured_fitted_and_shown_on_the_page_of_ones_own(tmp_path, capsys):
    """What `massact measure WHERE --set extract.statistics=[...]` and `massact report` do."""
    words = [
        "stage=measure", *POCKET[1:3], "checkpoints=list", "checkpoints.steps=[0,8,64,485,1080,2403,4096]", "fit=log",
        "fit.resamples=0", "extract.statistics=[magnitudes,head_norms]",
        *(f"paths.{name}={tmp_path}/{name}" for name in ("records", "extracted", "fits", "results")),
    ]  # fmt: skip
    register(HEADS)
    try:
        (config,) = preflight(words, ROOT / "conf", multirun=False)
        lines = measure_stage(config, tmp_path)
        assert main(["report", "--out", str(tmp_path)]) == 0
    finally:
        del STATISTICS._things["head_norms"]
    fits = read_table(tmp_path / "fits/pocket-a-seed0.head_norms-log.parquet", fits_schema("log", per_head=True))
    assert fits[["layer", "head"]].to_numpy().tolist() == [[layer, head] for layer in range(3) for head in range(4)]
    assert set(fits["quantity"]) == {"head_norm"}
    assert [line for line in lines if line.startswith("head_norms: 12 curves, median R2 ")]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = page.partition('<section id="statistics">')[2].partition("</section>")[0]
    assert "Other statistics</a>" in page and "<h3>head_norms</h3>" in section
    assert "first token&#39;s share: first over mean" in section
    assert section.count("<figure ") == 1 + 2 + 1  # curves, a map for each quantity, fits
    capsys.readouterr()
    assert main(["report", "--out", str(tmp_path)]) == 0  # where the statistic is no longer installed
    assert "no installed package has the statistic: head_norms" in capsys.readouterr().out
    assert "head_norms" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_one_that_is_not_finite_costs_the_table_of_no_other(tmp_path):
    class Overflows(HeadNorms):
        name = "overflows"
        steps = 0

        def reduce(self, block):
            self.steps += block.layer == 0
            scale = torch.inf if self.steps > 1 else 1.0
            return {name: values * scale for name, values in super().reduce(block).items()}

    register(Overflows())
    try:
        named = "extract.statistics=[magnitudes,overflows]"
        (config,) = preflight([*POCKET, f"paths.records={tmp_path}", named], ROOT / "conf", multirun=False)
        extractions, failures = extract(config)
    finally:
        del STATISTICS._things["overflows"]
    tables = {one.statistic.name: sorted(set(one.records["step"])) for one in extractions}
    assert tables == {"magnitudes": [0, 1], "overflows": [0]}
    assert [what.partition(":")[0] for what, _ in failures] == ["overflows"]
    assert "not_finite" in extractions[1].runtime["statuses"].values()
    assert list(extractions[0].runtime["statuses"].values()) == ["measured", "measured"]
