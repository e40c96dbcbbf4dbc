import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from massact.cli import main
from massact.designs import architecture_from
from massact.errors import ConfigError
from massact.pipeline import STAGES
from massact.predict import forecast
from massact.predict.stored import shipped_artefact
from massact.tables import Column, Schema, write_table
from tests.locales import ASCII_LOCALE

ROOT = Path(__file__).parents[1]
NUMBERS = ["n_layers=4", "d_model=128", "n_heads=4", "d_mlp=512"]


def test_forecast_prints_what_it_rests_on_and_then_a_table_of_layers_and_steps(capsys):
    assert main(["forecast", *NUMBERS, "--steps", "512,2048", "--recipe", "nano"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("The forecast was learnt from 5 architectures")
    assert lines[-5].split() == ["layer", "step", "512", "step", "2,048"]
    assert [line.split()[0] for line in lines[-4:]] == ["0", "1", "2", "3"]


def test_forecast_as_csv_has_a_row_a_layer_and_step(capsys):
    assert main(["forecast", *NUMBERS, "--steps", "512,2048", "--recipe", "nano", "--csv"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert lines[0] == "recipe,step,tokens,layer,value,lower,upper"
    assert len([line for line in lines if line.split(",")[:1] == ["nano"]]) == 8


def test_the_forecast_for_24_layers_fits_a_terminal_unless_all_are_wanted(capsys):
    words = ["forecast", "n_layers=24", "d_model=1024", "n_heads=16", "d_mlp=4096"]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 24
    assert main([*words, "--layers", "all", "--steps", "512"]) == 0
    layers = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "(" in line]
    assert layers[-24:] == [str(layer) for layer in range(24)]


def test_a_factor_that_is_not_used_is_named_before_the_table(capsys):
    assert main(["forecast", *NUMBERS, "context=64", "rotary_base=500"]) == 0
    before = " ".join(capsys.readouterr().out.split("layer  ")[0].split())
    assert "Your context=64 makes no difference to the forecast" in before
    assert "Your rotary_base=500 makes no difference to the forecast" in before


def test_a_known_model_lends_its_architecture(capsys):
    assert main(["forecast", "--like", "pythia-14m", "n_layers=4", "--json", "--steps", "512"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == [0, 1, 2, 3]
    assert main(["forecast", "--like", "pythia-14b"]) == 2
    assert "nearest: pythia-" in capsys.readouterr().err
    assert main(["forecast", "--like", "smollm3"]) == 2
    assert "give its numbers" in capsys.readouterr().err


def test_strict_refuses_an_extrapolation(capsys):
    wide = ["n_layers=4", "d_model=1024", "n_heads=16", "d_mlp=4096"]
    assert main(["forecast", *wide]) == 0
    assert "claim no coverage" in " ".join(capsys.readouterr().out.split())
    assert main(["forecast", *wide, "--strict"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["forecast", "n_layers=4", "d_model=128", "n_heads=4", "d_mlp=512", "--strict"]) == 0


def test_a_run_is_forecast_from_its_first_steps(tmp_path, capsys):
    four = ["n_layers=4", "d_model=128", "n_heads=4", "d_mlp=512"]
    measured = forecast({"n_layers": 4, "d_model": 128, "n_heads": 4, "d_mlp": 512}, steps=[0, 1, 4, 16, 64, 128, 256])
    measured.assign(value=measured["value"] * 1.1).to_csv(tmp_path / "run.csv", index=False)
    assert main(["forecast", *four, "--from", str(tmp_path / "run.csv"), "--steps", "2048"]) == 0
    assert "first 256 steps" in " ".join(capsys.readouterr().out.split())
    assert main(["forecast", *four, "--from", str(tmp_path / "absent.csv")]) == 2
    assert "step, layer, value" in capsys.readouterr().err


def test_a_users_own_artefact_is_read_and_its_hash_checked(tmp_path, capsys):
    own = tmp_path / "own.json"
    own.write_text(json.dumps(shipped_artefact()))
    assert main(["forecast", *NUMBERS]) == 0
    shipped = capsys.readouterr().out
    assert main(["forecast", *NUMBERS, "--artefact", str(own)]) == 0
    assert capsys.readouterr().out == shipped
    own.write_text(own.read_text().replace('"architectures": 54', '"architectures": 55'))
    assert main(["forecast", *NUMBERS, "--artefact", str(own)]) == 2
    error = capsys.readouterr().err
    assert "damaged" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["n_layer=4", *NUMBERS[1:]], "n_layers"),
        (["n_layers", *NUMBERS[1:]], "name=number"),
        (["n_layers=four", *NUMBERS[1:]], "number"),
        (NUMBERS[:3], "d_mlp"),
        ([*NUMBERS, "parallel_residual=maybe"], "true or false"),
        ([*NUMBERS, "n_layers=5"], "n_layers is given twice"),
        ([*NUMBERS, "rotary_base=1", "rotary_base=2"], "rotary_base is given twice"),
        ([*NUMBERS, "rotary_base=nan"], "rotary_base = nan"),
        ([*NUMBERS, "rotary_base=inf"], "rotary_base = inf"),
        (["n_layers=10000000", *NUMBERS[1:]], "at most 1,000"),
        (["n_layers=4", "d_model=1" + 23 * "0", "n_heads=1", "d_mlp=1"], "at most 1,000,000"),
        (["n_layers=" + 5000 * "9", *NUMBERS[1:]], "n_layers = '999"),
        (["n_layers=4\n5", *NUMBERS[1:]], "n_layers = '4 5'"),
        ([*NUMBERS, "--steps", ""], "whole numbers"),
        ([*NUMBERS, "--steps", "1", "--steps", "2"], "--steps is given twice"),
        ([*NUMBERS, "--level", "high"], "level"),
        ([*NUMBERS, "--level", "nan"], "between 0 and 1"),
        ([*NUMBERS, "--layers", "0,9"], "no layer 9; give 0 to 3, or all"),
        ([*NUMBERS, "--recip", "nano"], "--recip"),
        ([*NUMBERS, "--recipe"], "--recipe"),
        ([*NUMBERS, "--artefact", "absent.json"], "absent.json does not exist"),
        ([], "no architecture is given"),
    ],
)
def test_wrong_numbers_are_one_line_and_status_2(words, message, capsys):
    assert main(["forecast", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("forcast", "did you mean forecast?"),
        ("sumary", "did you mean summary?"),
        ("xyz", "commands: compare, forecast, init, measure, report, run, summary"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(word, message, capsys):
    assert main([word, *NUMBERS]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_no_command_is_one_line(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_of_run_lists_every_stage():
    done = subprocess.run([sys.executable, "run.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = done.stdout.split("Stages (")[1].split("\n\n")[0]
    words = {word for line in listed.splitlines()[1:] for word in line.partition(":")[2].split()}
    assert words == set(STAGES) - {"run"}


def test_heads_that_do_not_divide_the_width(capsys):
    assert main(["forecast", "n_layers=4", "d_model=100", "n_heads=8", "d_mlp=400"]) == 2
    assert "5, 10" in capsys.readouterr().err


def test_numbers_take_their_kind():
    architecture = architecture_from([*NUMBERS, "rotary_fraction=0.5", "parallel_residual=false"])
    assert architecture.rotary_fraction == 0.5
    assert architecture.parallel_residual is False
    with pytest.raises(ConfigError):
        architecture_from(["n_layers=4.5", *NUMBERS[1:]])


def test_summary_names_the_headline_the_report_and_what_is_missing(tmp_path, capsys, monkeypatch):
    assert main(["summary", "--results", str(tmp_path)]) == 2
    assert "dvc repro" in capsys.readouterr().err
    (tmp_path / "headline.txt").write_text("measured: 5 models\n")
    monkeypatch.chdir(tmp_path)
    assert main(["summary", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("measured: 5 models")
    assert out.rstrip().endswith("report.html")


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        (False, "largest relative difference from the committed tables: 0"),
        pytest.param(
            True,
            "no committed tables to compare with (",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a folder away"),
        ),
    ],
    ids=["own checkout", "another owner's checkout"],
)
def test_summary_ends_well_in_any_terminal_and_whoever_owns_the_checkout(tmp_path, stranger, message):
    schema = Schema("t", {"n": Column("int32", "a number")}, key=("n",))
    write_table(pd.DataFrame({"n": [1, 2]}), tmp_path / "data/fits/t.parquet", schema)
    git, dvc = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"], [sys.executable, "-m", "dvc"]
    for words in (
        [*git, "init", "-q"],
        [*dvc, "init", "-q"],
        [*dvc, "add", "-q", "data/fits/t.parquet"],
        [*git, "add", "-A"],
        [*git, "commit", "-qm", "one table"],
    ):
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "headline.txt").write_text("ratio: \u22120.09 \u03bb\n", encoding="utf-8")
    environment = {**os.environ, **ASCII_LOCALE, "PYTHONIOENCODING": "ascii", "DVC_NO_ANALYTICS": "1"}
    environment["HOME"] = str(tmp_path / "home")  # no safe.directory from elsewhere
    if stranger:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, 65534, 65534)
    code = "import sys; from massact.cli import main; sys.exit(main(['summary', '--results', '.']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "ratio: \\u22120.09 \\u03bb"
    assert lines[1].startswith(message)
    assert lines[2].startswith("report: ")
    assert len(lines) == 3


def test_forecast_needs_none_of_the_heavy_libraries():
    code = (
        "import sys\nfrom massact.cli import main\n"
        f"main(['forecast', *{NUMBERS!r}])\n"
        "sys.exit(bool({'torch', 'mlflow', 'sklearn', 'skops', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_run_is_hydras_command_line_in_any_folder(tmp_path):
    command = [sys.executable, "-m", "massact.cli", "run"]
    done = subprocess.run([*command, "stage=extract", "model=pocket-a"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    assert "data/pocket/pocket-a-seed0 does not exist" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = subprocess.run([*command, "stage=extrat"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "extract" in done.stderr
