"""A path may be given as text wherever the main names take one."""

from __future__ import annotations

from massact.checkpoints import FolderSource
from massact.extract import Probe, RecordStore
from massact.train import LiveMeasurement, Subject
from tests.train.training import tiny_gpt2


def test_text_is_accepted_as_a_path(tmp_path):
    model = tiny_gpt2()
    live = LiveMeasurement(
        Subject.of_model(model, name="mine", tokens_per_step=32),
        Probe.of([[1, 2, 3], [4, 5, 6]]),
        [0],
        store=RecordStore(str(tmp_path / "records")),
        journal=str(tmp_path / "journal.json"),
    )
    live(0, model)
    assert len(live.records()) == 2 * model.config.n_layer
    assert (tmp_path / "journal.json").is_file()
    (tmp_path / "step4").mkdir()
    assert FolderSource(str(tmp_path)).steps() == [4]
