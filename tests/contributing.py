"""CONTRIBUTING.md for tests: its commands, its code, and its examples as an installed package."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs/examples"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[list[str]]:
    """The words after `python run.py` of every command in a section."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [shlex.split(line)[2:] for line in re.findall(r"^ {4,}(python run\.py .*)$", section, re.MULTILINE)]


def code_blocks() -> list[str]:
    """The fenced blocks, without the indentation of a list item."""
    blocks = re.findall(r"^( *)```\w+\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


def installed(folder: Path) -> dict[str, str]:
    """The environment of a process that finds docs/examples installed; `folder` holds the package's metadata."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", EXAMPLES, folder)))}


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python run.py` with these words, in the root of the repository."""
    command = [sys.executable, "run.py", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
