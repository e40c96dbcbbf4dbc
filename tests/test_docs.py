"""What the documents show is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_no_readme_example_goes_untested():
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("group", sorted(p.name for p in (ROOT / "conf").iterdir() if p.is_dir()))
def test_every_configuration_group_is_documented(group):
    reference = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    if group == "recipe":
        assert "model.recipe" in reference
    else:
        assert f"| `{group}` |" in reference


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
