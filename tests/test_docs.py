"""What the documents show is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_example_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    assert blocks[0].strip().count("\n") < 15
    done = subprocess.run([sys.executable, "-c", blocks[0]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "position 0" in done.stdout


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
