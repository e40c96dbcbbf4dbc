"""A folder of published files: the numbers, the axes, and every way a file is rejected."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import pytest

from massact.checkpoints.pythia import PYTHIA_STEPS
from massact.errors import MissingInputError
from massact.extract.magnitudes import magnitudes
from massact.extract.probe import Probe
from massact.extract.records import records_frame
from massact.trajectories import RECORDS, aggregate, import_published
from tests.trajectories.writing import FOLDER, excerpt, tiled, write_stats, written

TOKENS_PER_STEP = 1024 * 2048


def imported(folder, size="14m", n_layers=6):
    return import_published(folder, size, n_layers=n_layers, steps=PYTHIA_STEPS, tokens_per_step=TOKENS_PER_STEP)


@pytest.fixture
def folder(tmp_path):
    for step in (0, 2, 12000):
        write_stats(tmp_path, "14m", step, excerpt("14m", step))
    return tmp_path


def reasons(found):
    return dict(zip(found.rejected["file"], found.rejected["reason"], strict=True))


def test_the_table_is_the_one_our_own_extraction_gives(folder):
    table = imported(folder)
    assert table.rejected.empty
    assert table.twins == {}
    values = {step: tiled(excerpt("14m", step)).astype(np.float32) for step in (0, 2, 12000)}
    unknown = np.full((10, 6, 3), -1, dtype=np.int32)
    measured = {
        step: magnitudes(top=v[:, :3].transpose(0, 2, 1), token=unknown, dimension=unknown, median=v[:, 3])
        for step, v in values.items()
    }
    ours = records_frame(
        measured,
        Probe(np.zeros((10, 2048), dtype=np.int64), "t", -1),
        family="pythia",
        recipe="pythia",
        model="pythia-14m",
        seed=0,
        tokens_per_step=TOKENS_PER_STEP,
    )
    assert table.records.equals(RECORDS.validate(ours))
    assert sorted(set(table.records["tokens"])) == [0, 2 * 2_097_152, 12000 * 2_097_152]


def test_it_can_be_aggregated(folder):
    frame = aggregate(imported(folder).records)
    row = frame[(frame["quantity"] == "ratio") & (frame["step"] == 12000) & (frame["layer"] == 3)].iloc[0]
    values = tiled(excerpt("14m", 12000))[:, :, 3]
    assert row["value"] == pytest.approx(values[:, 0].mean() / values[:, 3].mean(), rel=1e-6)
    assert row["n_sequences"] == 10


def test_names_and_hashes_of_the_files_are_kept(folder):
    name, sha256 = imported(folder).files[2]
    assert name == "exp2_pythia_14m_step2"
    assert sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def spoilt(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:9], "it has 9 sequences, not 10"),
        (lambda v: np.concatenate([v, v[:1]]), "it has 11 sequences, not 10"),
        (lambda v: v[:, :, :5], "it has 5 layers, the model 6"),
        (lambda v: np.concatenate([v, v[:, :, :1]], axis=2), "it has 7 layers, the model 6"),
        (lambda v: v[:, :3], "sequence 0 has 3 rows, not 4"),
        (lambda v: v[:, [0, 1, 2, 3, 3]], "sequence 0 has more than 4 rows"),
        (lambda v: v[:, [1, 0, 2, 3]], "sequence 0, layer 0: top1 < top2"),
        (lambda v: v * np.where(np.arange(10) == 7, np.nan, 1)[:, None, None], "sequence 7, top1: a finite number"),
        (lambda v: v * np.where(np.arange(10) == 4, np.inf, 1)[:, None, None], "sequence 4, top1: a finite number"),
        (lambda v: v * 1e39, "sequence 0, layer 0: top1 1.25e+39 is beyond float32"),
        (lambda v: v * np.array([1, 1, 1, 0])[:, None], "sequence 0, layer 0: median 0 is 0: it has no ratio"),
    ],
)
def test_wrong_numbers_reject_their_file_alone(folder, change, message):
    path = folder / "exp2_pythia_14m_step52000"
    path.write_text(written(change(tiled(excerpt("14m", 0))), rng=random.Random(1)))
    table = imported(folder)
    assert list(reasons(table)) == [path.name]
    assert message in reasons(table)[path.name]
    assert sorted(table.files) == [0, 2, 12000]
    assert "\n" not in reasons(table)[path.name]


def test_broken_text_names_its_line(folder):
    path = folder / "exp2_pythia_14m_step2"
    text = path.read_text()
    path.write_text(spoilt(text, "\n", "\n\n?"))
    (folder / "exp2_pythia_14m_step0").write_bytes(b"[[[1,\n\xff")
    texts = reasons(imported(folder))
    assert texts["exp2_pythia_14m_step2"].startswith("line 3: ")
    assert "'?' found" in texts["exp2_pythia_14m_step2"]
    assert texts["exp2_pythia_14m_step0"] == "line 2: it is not UTF-8 text"


def test_names_must_say_the_model_and_one_of_its_steps_once(folder):
    good = (folder / "exp2_pythia_14m_step2").read_text()
    wrong = {
        "exp2_pythia_70m_step2": "its name is not exp2_pythia_14m_step<N>",
        "README": "its name is not exp2_pythia_14m_step<N>",
        "exp2_pythia_14m_step3": "pythia-14m has no checkpoint at step 3",
        "exp2_pythia_14m_step1500": "pythia-14m has no checkpoint at step 1500",
        "exp2_pythia_14m_step4.txt": "its name is not exp2_pythia_14m_step4",
        "exp2_pythia_14m_step02": "step 2 occurs twice: also in exp2_pythia_14m_step2",
    }
    for name in wrong:
        (folder / name).write_text(good)
    (folder / "exp2_pythia_14m_step8").symlink_to(folder / "gone")
    (folder / "older").mkdir()
    table = imported(folder)
    twice = "step 2 occurs twice: also in exp2_pythia_14m_step02"
    unreadable = "it cannot be read (No such file or directory)"
    assert reasons(table) == {**wrong, "exp2_pythia_14m_step2": twice, "exp2_pythia_14m_step8": unreadable}
    assert sorted(table.files) == [0, 12000]
    assert table.rejected.set_index("file")["step"].to_dict()["exp2_pythia_14m_step3"] == 3


def test_equal_numbers_make_a_later_step_suspect_but_not_step_1(folder):
    for step in (1, 13000):
        write_stats(folder, "14m", step, excerpt("14m", 0 if step == 1 else 12000))
    assert imported(folder).twins == {13000: "has the numbers of step 12000"}


def test_excerpts_are_rejected_and_an_empty_table_is_still_a_table(tmp_path):
    for path in FOLDER.glob("exp2_pythia_1*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = imported(tmp_path, "12b", 36)
    assert table.records.empty
    assert list(table.records.columns) == list(RECORDS.columns)
    assert "2 rows, not 4" in reasons(table)["exp2_pythia_12b_step2000"]
    assert len(table.rejected) == len(list(FOLDER.glob("exp2_pythia_1*")))


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        imported(tmp_path / "none")


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_only_regular_files_of_sensible_size_are_read(tmp_path, kind):
    path = tmp_path / "exp2_pythia_14m_step512"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(10**9)
    table = imported(tmp_path)
    assert ("has 1,000,000,000 bytes" if kind == "large" else "not a regular file") in reasons(table)[path.name]
