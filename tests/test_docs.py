"""What the documents show is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from massact.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "words"), [(0, ["position 0"]), (1, ["layer", "step", *(f"\n{s} " for s in (0, 1, 2, 4, 8))])]
)
def test_the_readme_example_runs(number, words, tmp_path):
    assert BLOCKS[number].strip().count("\n") < (15, 25)[number]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pocket").symlink_to(ROOT / "data" / "pocket")
    command = [sys.executable, "-c", BLOCKS[number]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in words), done.stdout


def test_the_first_example_runs_after_the_commands_that_stand_before_it(tmp_path):
    """In a fresh clone: what the README says before its example is all that the example needs, but for the install."""
    before = README.split("```python")[0]
    assert before.index("make setup") < before.index("dvc pull")
    pulls = [line.split("#")[0].split() for line in before.splitlines() if line.startswith("    dvc ")]
    assert pulls == [["dvc", "pull", "-q", "-R", "data"]]
    clone = tmp_path / "clone"
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"PYTHONPATH": str(clone / "src"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for command in (*pulls, [sys.executable, "-c", BLOCKS[0]]):
        done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "position 0" in done.stdout


def test_no_readme_example_goes_untested():
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("group", sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir()))
def test_every_configuration_group_is_documented(group):
    reference = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    if group == "recipe":
        assert "model.recipe" in reference
    else:
        assert f"| `{group}` |" in reference


def test_the_readmes_forecasts_are_answered(capsys):
    said = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("    massact forecast ")]
    assert len(said) == 3
    shipped = str(ROOT / "src/massact/artefacts/forecast.json")
    for words in said:
        assert main([shipped if word == "FILE" else word for word in words[1:]]) == 0
        assert capsys.readouterr().out


def test_what_dvc_plots_show_writes_is_ignored():
    ignored = subprocess.run(
        ["git", "check-ignore", "dvc_plots/index.html"], cwd=ROOT, capture_output=True, check=False
    )
    assert ignored.returncode == 0
    assert "dvc_plots" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
