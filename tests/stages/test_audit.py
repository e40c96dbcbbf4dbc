import pandas as pd

from massact.preflight import preflight
from massact.stages import audit
from massact.stages.swept import suspects_of
from tests.models import tiny_model
from tests.test_preflight import CONF


def config(*overrides):
    return preflight(overrides, CONF, multirun=False)[0]


def test_a_folder_with_equal_steps_is_reported(tmp_path):
    for step, seed in [(0, 0), (1, 0), (2, 1), (4, 1)]:
        tiny_model(seed=seed).save_pretrained(tmp_path / f"step{step}")
    lines = audit.run(config("stage=audit", f"model.folder={tmp_path}"), tmp_path / "job")
    assert any("step 4: has the weights of step 2" in line for line in lines)
    table = pd.read_csv(tmp_path / "job" / "audit.csv")
    assert table["step"].tolist() == [0, 1, 2, 4]


def test_suspects_and_failures_are_read_from_a_tables_metadata():
    entry = {
        "model": "m",
        "checkpoints": {"0": {}, "512": {}},
        "suspects": {"512": "has the weights of step 16", "1000": "shares a with step 143000"},
        "failed": {"64": "m has no revision step64; leave it out"},
    }
    assert suspects_of([entry]) == [
        "m step 64: m has no revision step64; leave it out (not measured)",
        "m step 512: has the weights of step 16",
        "m step 1000: shares a with step 143000 (not measured)",
    ]
