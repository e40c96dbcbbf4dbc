import subprocess
import sys

import pytest

from massact.cli import architecture_from, main
from massact.errors import ConfigError

NUMBERS = ["n_layers=4", "d_model=128", "n_heads=4", "d_mlp=512"]


def test_forecast_prints_a_plain_table(capsys):
    assert main(["forecast", *NUMBERS, "--steps", "512,2048"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["recipe", "step", "tokens", "layer", "value", "lower", "upper"]
    assert len([line for line in lines if line.split()[:1] == ["nano"]]) == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["n_layer=4", *NUMBERS[1:]], "n_layers"),
        (["n_layers", *NUMBERS[1:]], "name=number"),
        (["n_layers=four", *NUMBERS[1:]], "number"),
        (NUMBERS[:3], "d_mlp"),
        ([*NUMBERS, "parallel_residual=maybe"], "true or false"),
    ],
)
def test_wrong_numbers_are_one_line_and_status_2(words, said, capsys):
    assert main(["forecast", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


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


def test_forecast_needs_none_of_the_heavy_libraries():
    code = (
        "import sys\nfrom massact.cli import main\n"
        f"main(['forecast', *{NUMBERS!r}])\n"
        "sys.exit(bool({'torch', 'mlflow', 'sklearn', 'skops', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
