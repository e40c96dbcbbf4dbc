"""A suite of real, tiny trainings."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from massact.errors import TrainError
from massact.extract.probe import chunk
from massact.extract.store import RecordStore
from massact.tables import read_metadata, write_table
from massact.train import TrainingText
from massact.train.data import encode_works
from massact.train.members import Member, grid
from massact.train.suite import DIVERGED, DONE, FAILED, Suite
from massact.trajectories import RECORDS
from tests.models import tiny
from tests.test_recipe import varied
from tests.train.test_loop import SMALL, WORKS

RECIPE = replace(SMALL, name="small", steps=260)  # long enough for a state to be saved on the way
ARCHITECTURES = [tiny(context=8), tiny(context=8, n_layers=3)]


def suite(folder: Path, recipe=RECIPE, members: list[Member] | None = None, published: Path | None = None) -> Suite:
    text = TrainingText.of(WORKS[:1], WORKS[1:], recipe.vocabulary)
    return Suite(
        members or grid("small", ARCHITECTURES, [0], seeds=2),
        recipe,
        folder / "runs",
        published=published or folder / "small.parquet",
        text=text,
        probe=chunk(encode_works(text.tokenizer, WORKS[1:]), sequences=3, length=8, first_token=0, text="own"),
        store=RecordStore(folder / "records"),
        measured=12,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Suite:
    torch.set_num_threads(1)
    small_suite = suite(tmp_path_factory.mktemp("suite"))
    list(small_suite.work(small_suite.members))
    return small_suite


def test_every_member_is_trained_and_measured_the_most_expensive_of_the_design_first(finished):
    assert {member.name: finished.outcome(member).status for member in finished.members} == {
        "small-000-seed0": DONE, "small-000-seed1": DONE, "small-001-seed0": DONE,
    }  # fmt: skip
    records = finished.records()
    assert len(records) == len(finished.steps) * 3 * (2 + 2 + 3)
    assert set(records["step"]) == set(finished.steps)
    assert finished.steps[-1] == 260
    assert list(finished.work(finished.members)) == []
    assert not list((finished.folder).rglob("step*"))  # no checkpoint was kept
    assert not list((finished.folder).rglob("state.pt"))


def test_replicates_differ_and_a_repeat_does_not(finished, tmp_path):
    again = suite(tmp_path)
    first = next(m for m in again.members if m.name == "small-000-seed1")
    list(again.work([first]))
    assert again.records_of(first).equals(finished.records_of(first))
    other = next(m for m in finished.members if m.name == "small-000-seed0")
    assert not again.records_of(first)["top1"].equals(finished.records_of(other)["top1"])


def work(folder: Path, connection: Connection) -> None:
    torch.set_num_threads(1)
    small_suite = suite(folder)
    for member, _ in small_suite.work(
        small_suite.members, lambda member, step: connection.send(f"{member.name} {step}")
    ):
        connection.send(f"finished {member.name}")


def worker(folder: Path) -> tuple[BaseProcess, Iterator[str]]:
    """A process that has imported what it needs, and what it says while it works."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(folder, sender))
    process.start()
    sender.close()  # otherwise the end of the worker's output would be lost
    return process, lines(receiver)


def lines(receiver: Connection) -> Iterator[str]:
    with suppress(EOFError):
        while True:
            yield receiver.recv()


def test_a_killed_worker_continues_and_the_numbers_are_the_same(finished, tmp_path):
    first, lines = worker(tmp_path)
    for line in lines:
        if line == "small-001-seed0 230":
            os.kill(first.pid or 0, signal.SIGKILL)
            break
    first.join(120)
    second, lines = worker(tmp_path)
    assert next(lines) == "small-001-seed0 200"  # from the last saved state on
    list(lines)
    second.join(120)
    assert second.exitcode == 0
    assert suite(tmp_path).records().equals(finished.records())


def test_two_workers_share_the_members(finished, tmp_path):
    both = [worker(tmp_path), worker(tmp_path)]
    outputs = [list(lines) for _, lines in both]
    for process, _ in both:
        process.join(120)
    done = [line.split()[1] for lines in outputs for line in lines if line.startswith("finished")]
    assert sorted(done) == sorted(member.name for member in finished.members)
    assert suite(tmp_path).records().equals(finished.records())


def test_a_diverged_training_is_a_row_and_final(tmp_path):
    small_suite = suite(tmp_path, varied(RECIPE, learning_rate=1e30, warmup=1), grid("small", ARCHITECTURES[:1], [], 1))
    [(member, outcome)] = small_suite.work(small_suite.members)
    assert outcome.status == DIVERGED
    assert "step" in outcome.what
    assert outcome.step > 0
    assert list(small_suite.work(small_suite.members)) == []
    assert small_suite.row(member)["status"] == DIVERGED
    assert set(small_suite.records()["step"]) <= set(range(outcome.step + 1))


def test_a_crashed_training_is_a_row_and_tried_again(tmp_path):
    small_suite = suite(tmp_path, members=grid("small", ARCHITECTURES[:1], [], 1))

    def crash(member: Member, step: int) -> None:
        if step == 9:
            raise RuntimeError("the accelerator fell off the bus")

    [(_, outcome)] = small_suite.work(small_suite.members, crash)
    assert (outcome.status, outcome.step) == (FAILED, 9)
    assert "fell off the bus" in outcome.what
    [(_, outcome)] = small_suite.work(small_suite.members)
    assert outcome.status == DONE


def publish(small_suite: Suite) -> Path:
    path = small_suite.folder.parent / "published.parquet"
    rows = [small_suite.row(member) for member in small_suite.members]
    write_table(small_suite.records(), path, RECORDS, {"members": rows})
    return path


def test_what_is_published_is_not_trained_again(finished, tmp_path):
    published = publish(finished)
    longer = grid("small", [*ARCHITECTURES, tiny(context=8, n_heads=1)], [0], seeds=2)
    small_suite = suite(tmp_path, members=longer, published=published)
    assert [member.name for member, _ in small_suite.work(small_suite.members)] == ["small-002-seed0"]
    assert small_suite.records()[: len(finished.records())].equals(finished.records())
    rows = [small_suite.row(member) for member in small_suite.members]
    assert rows[:3] == read_metadata(published)["members"]
    assert rows[3]["weights_sha256"]


def test_another_recipe_under_the_same_name_is_refused(finished, tmp_path):
    published = publish(finished)
    other = suite(tmp_path, varied(RECIPE, weight_decay=0.3), published=published)
    with pytest.raises(TrainError, match="with another architecture, recipe or schedule"):
        list(other.work(other.members))


def test_a_damaged_status_names_the_folder_to_remove(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "runs")
    small_suite = suite(tmp_path)
    path = tmp_path / "runs" / "small-000-seed0" / "member.json"
    path.write_text("{")
    with pytest.raises(TrainError, match="is damaged; remove"):
        small_suite.outcome(small_suite.members[0])
    path.write_text(json.dumps({"identity": "other"}))
    with pytest.raises(TrainError, match="with another architecture"):
        small_suite.outcome(small_suite.members[0])


def test_a_finished_member_is_not_begun_by_a_worker_that_waited(finished):
    began = time.monotonic()
    assert list(finished.work(finished.members)) == []
    assert time.monotonic() - began < 5
