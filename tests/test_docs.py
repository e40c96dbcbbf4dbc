"""The documents are true: examples run, links lead somewhere, named files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from massact import forecast
from massact.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_examples_are_short():
    assert [block.strip().count("\n") < most for block, most in zip(BLOCKS, (15, 25), strict=True)] == [True, True]


@pytest.mark.parametrize(("number", "words"), [(1, ["layer", "step", *(f"\n{s} " for s in (0, 1, 2, 4, 8))])])
def test_the_readme_example_runs(number, words, tmp_path, monkeypatch, capsys):
    """The first one runs below, in a fresh clone."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pocket").symlink_to(ROOT / "data" / "pocket")
    monkeypatch.chdir(tmp_path)
    exec(BLOCKS[number], {"__name__": "__main__"})
    output = capsys.readouterr().out
    assert all(word in output for word in words), output


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


def test_the_readmes_forecasts_are_answered(tmp_path, capsys):
    commands = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("    massact forecast ")]
    assert len(commands) == 5
    run = forecast({"n_layers": 6, "d_model": 128, "n_heads": 4, "d_mlp": 512}, steps=[0, 1, 4, 16, 64, 128])
    run.to_csv(tmp_path / "run.csv", index=False)
    files = {"FILE": str(ROOT / "src/massact/artefacts/forecast.json"), "run.csv": str(tmp_path / "run.csv")}
    for words in commands:
        assert main([files.get(word, word) for word in words[1:]]) == 0
        assert capsys.readouterr().out


def test_what_dvc_plots_show_writes_is_ignored():
    ignored = subprocess.run(
        ["git", "check-ignore", "dvc_plots/index.html"], cwd=ROOT, capture_output=True, check=False
    )
    assert ignored.returncode == 0
    assert "dvc_plots" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data/README.md", ROOT / "benchmarks/README.md"])
LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)([^)\s]*)\)")


def sections(page: Path) -> dict[str, str]:
    """The text of each section by its anchor, as GitHub names it; a section holds its subsections."""
    text = page.read_text(encoding="utf-8")
    heads = [*re.finditer(r"^(#+) (.*)$", re.sub(r"```.*?```", lambda m: " " * len(m[0]), text, flags=re.DOTALL), re.M)]
    parts = {}
    for head in heads:
        after = (h.start() for h in heads if h.start() > head.start() and len(h[1]) <= len(head[1]))
        anchor = re.sub(r"[^\w\- ]", "", head[2].lower()).replace(" ", "-")
        parts[anchor] = text[head.start() : next(after, len(text))]
    return parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_every_page_lead_somewhere(page):
    for _, target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in sections(there), target


def test_the_summary_of_measurements_is_short_and_its_numbers_stand_in_the_lab_notebook():
    """Two pages at most; each row names a command and a date, and its numbers stand in the section it links to."""
    summary = ROOT / "docs" / "measurements.md"
    lines = summary.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| [")]
    assert len(lines) <= 80
    assert len(rows) > 20
    for what, result, command, date in rows:
        target = LINK.search(what)[2]
        path, _, anchor = target.partition("#")
        lab = sections(summary.parent / path)
        assert path.startswith("lab/")
        assert command
        page = (summary.parent / path).read_text(encoding="utf-8")
        for day in re.findall(r"\d{4}-\d\d-\d\d", date):
            assert day in page, target
        for number in re.findall(r"(?<![\w.])\.?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?!\w)", LINK.sub("", result)):
            assert number in lab[anchor], (target, number)


def test_every_page_of_the_lab_notebook_is_listed():
    listed = {target for _, target in LINK.findall((ROOT / "docs/lab/README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in ROOT.glob("docs/lab/*.md")} - {"README.md"} <= listed


def test_every_file_of_code_that_the_documents_name_is_there():
    files = [
        path.relative_to(ROOT).as_posix()
        for room in ("src", "tests", "benchmarks", "docs", "tools")
        for path in (ROOT / room).rglob("*.py")
    ]
    files += ["run.py", "setup.py"]
    pages = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    ]
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"(?:[A-Za-z_]+/)*[A-Za-z_0-9]+\.py\b", page.read_text(encoding="utf-8"))
        if not any(file == name or file.endswith(f"/{name}") for file in files)
    ]
    assert not missing
