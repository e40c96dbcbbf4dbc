"""`massact measure SUITE` and `massact measure hub:OWNER/NAME`, as their words compose, against a loopback hub."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pytest

from massact.own import measure_overrides
from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.hub import serving
from tests.suites import checkpoint


def words(where: str, out: Path) -> list[str]:
    """What `massact measure WHERE --probe random --sequences 2 --length 8 --set fit.resamples=0` composes."""
    given = dict.fromkeys(("steps", "layers", "dtype", "device", "fit", "name"))
    return measure_overrides(
        argparse.Namespace(
            where=where, out=str(out), last=False, probe="random", sequences=2, length=8,
            overrides=["fit.resamples=0"], **given,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "repository", "names", "kind", "tokens"),
    [
        ("apertus-8b", "swiss-ai/Apertus-8B-2509", ("step50000-tokens210B", "step100000-tokens420B"), "llama",
         {50000: 210 * 10**9, 100000: 420 * 10**9}),
        ("hub:some/one", "some/one", ("step1000", "step2000"), "gpt2", {1000: None, 2000: None}),
    ],
)  # fmt: skip
def test_a_suite_and_a_repository_are_measured(where, repository, names, kind, tokens, tmp_path, stage):
    served = {name: checkpoint(tmp_path / "served", kind, seed) for seed, name in enumerate((*names, "main"))}
    with serving({repository: served}) as hub:
        done = stage(hub.url, *words(where, tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "2 checkpoints, steps" in done.output
    assert "ratio of the largest to the median activation" in done.output
    (path,) = (tmp_path / "out/extracted").glob("*.parquet")
    first = read_table(path, RECORDS).groupby("step")["tokens"].first()
    assert {step: None if first.isna()[step] else int(first[step]) for step in first.index} == tokens
    assert read_metadata(path)["source"] == repository


def test_a_quantised_checkpoint_is_one_line_that_says_what_is_not_done(tmp_path, stage):
    folder = tmp_path / "runs/step1"
    shutil.copytree(checkpoint(tmp_path / "plain", "llama", 0), folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    done = stage("http://127.0.0.1:9", *words(str(tmp_path / "runs"), tmp_path / "out"), offline="1")
    assert done.exit_code == 3
    assert "is quantised (gptq): it is measured only where transformers unpacks it" in done.error
    assert "measure the model that it was made from" in done.error
