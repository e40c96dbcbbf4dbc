"""A stage from a file outside the package runs like any other, as CONTRIBUTING.md says."""

from __future__ import annotations

import json

from tests.contributing import commands, installed, run


def test_a_stage_of_another_package_runs_in_one_file(tmp_path):
    """A module and its entry point: no file of massact changes."""
    env, job = installed(tmp_path), tmp_path / "job"
    (words,) = commands("Add a stage")
    done = run(*words, f"hydra.run.dir={job}", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pocket-b has 8 layers" in done.stdout
    assert (job / "census.csv").read_text(encoding="utf-8") == "model,layers\npocket-b,8\n"
    assert json.loads((job / "status.json").read_text(encoding="utf-8"))["stage"] == "census"
    done = run("stage=censas", f"hydra.run.dir={job}", env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("massact: stage = censas is not known; nearest: ")
