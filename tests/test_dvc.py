"""The pipeline in real clones: the stages that an edit re-runs, and a new user's first commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from massact.params import load_params
from massact.tables import read_metadata, read_table, write_table
from massact.trajectories import RECORDS

ROOT = Path(__file__).parents[1]
MODELS, FORMS = ("pocket-c", "pocket-d"), ("eq9", "step1")


def shell(folder: Path, *command: str, ok: bool = True) -> str:
    """Run in a clone with its own sources first on the path; returns stdout and stderr."""
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if ok:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def clone(folder: Path) -> Path:
    shell(ROOT, "git", "clone", "-q", str(ROOT), str(folder))
    return folder


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def cut_suite(path: Path) -> None:
    """Leave nine architectures, three of them with all seeds, and two rungs of the ladder."""
    metadata = read_metadata(path)
    models = {f"nano-{number:03d}" for number in (0, 3, 11, 1, 2, 4, 6, 7, 8)} | {"nano-heads-1", "nano-heads-2"}
    records = read_table(path, RECORDS)
    members = [member for member in metadata["members"] if member["model"] in models]
    write_table(records[records["model"].isin(models)], path, RECORDS, {**metadata, "members": members})


@pytest.fixture(scope="module")
def pulled(tmp_path_factory) -> tuple[Path, str]:
    """A clone with all its data, and what its first `dvc repro` printed."""
    folder = clone(tmp_path_factory.mktemp("dvc") / "clone")
    shell(folder, "dvc", "pull")
    return folder, shell(folder, "dvc", "repro")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A clone whose pipeline is cut to two models and two forms, run once."""
    folder = clone(tmp_path_factory.mktemp("dvc") / "clone")
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    params = re.sub(r"models: .*", f"models: [{', '.join(MODELS)}]", params)
    params = re.sub(r"forms: .*", f"forms: [{', '.join(FORMS)}]", params)
    params = re.sub(r"targets: .*", "targets: [K, f_end]", params)
    params = re.sub(r"quantities: .*", "quantities: [ratio, median]", params)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    predictor = folder / "conf/predictor/default.yaml"
    lines = [line for line in predictor.read_text(encoding="utf-8").splitlines() if "n_estimators" not in line]
    predictor.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shell(folder, "dvc", "pull", "-q", "-R", "data")
    cut_suite(folder / "data/trajectories/nano.parquet")
    for stale in [*(folder / "data/extracted").glob("*.parquet"), *(folder / "data/fits").glob("*.parquet")]:
        stale.unlink()
    shell(folder, "dvc", "repro")
    return folder


PARAMS = load_params(ROOT / "params.yaml")
EXTRACT = {f"extract@{m}-0" for m in PARAMS.models}
FIT = {f"fit@{m}-0-{f}" for m in PARAMS.models for f in PARAMS.forms}
STEP1 = {f"fit@{m}-0-step1" for m in PARAMS.models}
SUITE = {"fit_suite@nano", "findings@nano"}
END = {"predict", "report", "track"}
PROBED = ("architecture:", "probe:\n  length: 20\narchitecture:")
EDITS = [
    ("conf/probe/auto.yaml", "sequences: 10", "sequences: 9", EXTRACT),
    ("conf/model/pocket-d.yaml", *PROBED, {"extract@pocket-d-0"}),
    ("conf/model/base/pocket.yaml", "  length: ${..recipe.window}", "  length: 20", EXTRACT),
    ("conf/fit/base/form.yaml", "resamples: 200", "resamples: 100", FIT | {"fit_suite@nano"}),
    ("conf/protocol/default.yaml", "ratio_of_means ", "mean_of_ratios ", FIT | SUITE | END),
    ("conf/fit/step1.yaml", "form: step1", "form: step1  # the same", set()),
    ("conf/fit/step1.yaml", "form: step1", "form: step2", STEP1),
    ("params.yaml", "targets: [A, ", "targets: [", {"predict"}),
    ("conf/predictor/default.yaml", "folds: 5", "folds: 4", {"predict"}),
    ("conf/predictor/default.yaml", "alpha: 0.05", "alpha: 0.5", {"predict"}),
    ("conf/tracking/mlflow.yaml", "experiment: massact", "experiment: other", {"track"}),
    ("conf/recipe/nano.yaml", "weight_decay: 0.1", "weight_decay: 0.2", set()),
    ("conf/train/default.yaml", "threads: 1", "threads: 2", set()),
    ("conf/checkpoints/paper.yaml", "count: 37", "count: 36", set()),
    ("conf/extract/default.yaml", "[magnitudes]", "[magnitudes, other]", set()),  # the tracked table stays the same
    ("conf/model/pythia-70m.yaml", "n_layers: 6", "n_layers: 7", set()),
    ("src/massact/report/style.css", "{", "{ ", {"report"}),
    ("src/massact/plotting.py", '"""', '""" ', {"report", "findings@nano"}),
    ("src/massact/stages/gather.py", '"""', '""" ', {"gather", "findings@nano"}),
    ("src/massact/fit/schemas.py", "Schema of", "The schema of", FIT | {"fit_suite@nano"}),
]


@pytest.mark.parametrize(("path", "old", "new", "expected"), EDITS, ids=[f"{e[0]}:{e[2]}" for e in EDITS])
def test_an_edited_value_changes_exactly_the_stages_that_use_it(pulled, path, old, new, expected, monkeypatch):
    folder, _ = pulled
    monkeypatch.chdir(folder)  # stages are named from there
    original = (folder / path).read_bytes()
    edit(folder / path, old, new)
    try:
        with Repo(str(folder)) as repo:  # `dvc status` without starting it
            changed = set(repo.status())
    finally:
        (folder / path).write_bytes(original)
    assert changed == expected


SMALL_FIT = {f"fit@{m}-0-{f}" for m in MODELS for f in FORMS} | {"fit_suite@nano"}


@pytest.mark.slow
def test_an_edited_model_runs_its_own_stages_and_what_depends_on_them(small):
    edit(small / "conf/model/pocket-d.yaml", *PROBED)
    expected = {"extract@pocket-d-0", *(f"fit@pocket-d-0-{f}" for f in FORMS), "gather", *END}
    assert ran(shell(small, "dvc", "repro")) == expected


@pytest.mark.slow
def test_fits_that_are_the_same_end_what_an_edit_of_their_code_runs(small):
    """The ends of intervals can differ by 1e-12 between two runs; then the stages after them run, and rightly."""

    def tables() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (small / "data/fits").glob("*.parquet")}

    before = tables()
    edit(small / "src/massact/fit/schemas.py", "Schema of", "The schema of")
    stages = ran(shell(small, "dvc", "repro"))
    assert stages >= SMALL_FIT
    assert tables() != before or stages == SMALL_FIT


@pytest.mark.slow
def test_repro_twice_runs_nothing_the_second_time(small):
    lock = (small / "dvc.lock").read_bytes()
    output = shell(small, "dvc", "repro")
    assert ran(output) == set()
    assert "up to date" in output
    assert (small / "dvc.lock").read_bytes() == lock
    assert "git checkout -- dvc.lock" in shell(small, "massact", "summary")  # its tables are not the committed ones


def test_pull_of_everything_leaves_only_report_and_track(pulled):
    folder, first = pulled
    assert len(list((folder / "data/extracted").glob("*.parquet"))) >= 4
    assert ran(first) == {"pulled", "report", "track"}
    assert (folder / "results/report.html").stat().st_size > 10_000
    assert "Data and pipelines are up to date." in shell(folder, "dvc", "status")
    assert "ridge" in shell(folder, "dvc", "metrics", "show")
    assert shell(folder, "git", "status", "--porcelain") == ""  # the report's hash is the recorded one here too
    assert ran(shell(folder, "dvc", "repro", "--dry")) == set()


def test_repro_without_pull_names_the_pull(tmp_path):
    folder = clone(tmp_path / "clone")
    output = shell(folder, "dvc", "repro", ok=False)
    assert "dvc pull -R data" in output
    assert ran(output) == {"pulled"}


def test_a_fresh_clone_lists_its_stages(tmp_path):
    """As README says; `--dry` alone is refused by DVC, which hashes inputs that are not there."""
    folder = clone(tmp_path / "clone")
    assert {"pulled", "extract@pocket-a-0", "predict", "report"} < ran(
        shell(folder, "dvc", "repro", "--dry", "--force")
    )
    assert "results/report.html" in shell(folder, "dvc", "status")


def archive(folder: Path) -> Path:
    """A source archive without .git, unpacked inside another repository whose .gitignore hides data/."""
    outer = folder / "outer"
    outer.mkdir()
    shell(outer, "git", "init", "-q")
    (outer / ".gitignore").write_text("data/\n")
    packed = folder / "massact.tar"
    shell(ROOT, "git", "archive", "--prefix=massact/", "-o", str(packed), "HEAD")
    shell(outer, "tar", "xf", str(packed))
    return outer / "massact"


def test_a_source_archive_pulls_its_data_or_names_what_is_missing(tmp_path):
    folder = archive(tmp_path)
    output = shell(folder, "sh", "tools/pull.sh")
    assert output.count("has no Git repository") == 1
    weights = folder / "data/pocket/pocket-a-seed0/step0/model.safetensors"
    assert weights.is_file()
    assert ran(shell(folder, "dvc", "repro", "-s", "pulled")) == {"pulled"}
    shutil.rmtree(folder / ".dvc/cache")
    content = weights.read_bytes()
    shutil.rmtree(folder / "data/pocket/pocket-a-seed0")
    lost = next(path for path in (folder / "data/store/files/md5").rglob("*") if same(path, content))
    lost.unlink()
    output = shell(folder, "sh", "tools/pull.sh", ok=False)
    lines = [line for line in output.splitlines() if line.startswith("massact: ")]
    assert lines == [
        f"massact: {lost.relative_to(folder)}, data/pocket/pocket-a-seed0/step0/model.safetensors: it is missing",
        "massact: this copy has no Git repository: copy data/store again from the archive or from a git clone; "
        "then: sh tools/pull.sh",
    ]


def same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


@pytest.mark.slow
def test_a_source_archive_runs_the_pipeline(tmp_path):
    folder = archive(tmp_path)
    shell(folder, "sh", "tools/pull.sh")
    shell(folder, "dvc", "pull", "-q")
    assert ran(shell(folder, "dvc", "repro")) == {"pulled", "report", "track"}
    output = shell(folder, "massact", "summary")
    assert (
        "no committed tables to compare with (this copy has no Git repository); to compare, run it in a git clone"
        in output
    )


@pytest.mark.slow
def test_pull_of_sources_runs_everything_but_training(tmp_path):
    folder = clone(tmp_path / "clone")
    shell(folder, "dvc", "pull", "-R", "data")
    stages = ran(shell(folder, "dvc", "repro"))
    assert {"predict", "report", "track"} < stages
    assert not any(stage.startswith("train") or "pocket/dvc.yaml" in stage for stage in stages)
    assert {s for s in stages if s.startswith("extract@")} == {
        f"extract@{path.stem}-0" for path in (ROOT / "conf/model").glob("pocket-*.yaml")
    }
    shutil.rmtree(folder / "data/records")
    assert "Data and pipelines are up to date." in shell(folder, "dvc", "status")
