"""Reported faults of published checkpoints, as loopback hubs can serve them: which branch has which file.

Files are a few kilobytes and named after labels; what matters is who shares one and whether it looks trained.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from massact.checkpoints import HubSource
from massact.checkpoints.known import PYTHIA_2_8B_AS_MAIN, PYTHIA_2_8B_SECOND
from massact.checkpoints.pythia import PYTHIA_STEPS

WIDTH, LAYERS, VOCABULARY = 16, 2, 64


@dataclass(frozen=True)
class Report:
    """One fault.

    Attributes
    ----------
    where
        Who reported it.
    files
        Step -> labels of its weight files, one or a shard each; none where it has no weights.
    main
        Labels of main's; none where it has no main.
    untrained
        Labels of files that are as initialised.
    wrong
        Steps whose weights are not their own, as reported.
    bins
        Whether each branch has a .bin of its own beside.
    """

    where: str
    repository: str
    files: Mapping[int, tuple[str, ...]]
    main: tuple[str, ...] = ()
    untrained: frozenset[str] = frozenset({"s0"})
    wrong: frozenset[int] = frozenset()
    bins: bool = False
    revision: Callable[[int], str] = field(default=lambda step: f"step{step}")

    def serve(self, root: Path, padding: int = 0) -> dict[str, Path]:
        """Branch -> folder; weights of `padding` more bytes than there is need for."""
        branches = {self.revision(step): labels for step, labels in self.files.items()}
        if self.main:
            branches["main"] = self.main
        return {
            name: self._folder(root / (name if self.bins else "-".join(labels) or name), labels, name, padding)
            for name, labels in branches.items()
        }

    def source(self, endpoint: str, cache: Path) -> HubSource:
        """Its checkpoints on a hub."""
        steps = list(self.files)
        revisions = {step: self.revision(step) for step in steps}
        return HubSource(
            self.repository, steps=steps, revisions=revisions, offline=False, endpoint=endpoint, cache=cache
        )

    def _folder(self, folder: Path, labels: tuple[str, ...], branch: str, padding: int) -> Path:
        if folder.is_dir():
            return folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        for k, label in enumerate(labels):
            name = "model.safetensors" if len(labels) == 1 else f"model-{k + 1:05d}-of-{len(labels):05d}.safetensors"
            write_weights(folder / name, seed=zlib.crc32(label.encode()), trained=label not in self.untrained)
            if padding:
                pad(folder / name, padding)
        if len(labels) > 1:
            (folder / "model.safetensors.index.json").write_text("{}")
        if self.bins:
            (folder / "pytorch_model.bin").write_bytes(branch.replace("main", "step143000").encode())
        return folder


def write_weights(path: Path, *, seed: int, trained: bool) -> None:
    """A small GPT-NeoX's first tensors in float16, as Pythia initialises them or as if trained."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    small, wang = math.sqrt(2 / (5 * WIDTH)), 2 / (LAYERS * math.sqrt(WIDTH))
    tensors = {"gpt_neox.embed_in.weight": rng.normal(0, small, (VOCABULARY, WIDTH))}
    for layer in range(LAYERS):
        tensors[f"gpt_neox.layers.{layer}.attention.dense.weight"] = rng.normal(0, wang, (WIDTH, WIDTH))
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"gpt_neox.layers.{layer}.{norm}.weight"] = np.ones(WIDTH)
            tensors[f"gpt_neox.layers.{layer}.{norm}.bias"] = np.zeros(WIDTH)
    if trained:
        tensors = {name: 1.4 * value + rng.normal(0, 0.02, value.shape) for name, value in tensors.items()}
    save_file({name: value.astype(np.float16) for name, value in tensors.items()}, path)


def pad(path: Path, size: int) -> None:
    """Add a tensor of zeros, which takes no room on a disk."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    header["padding"] = {"dtype": "U8", "shape": [size], "data_offsets": [len(values), len(values) + size]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + values)
        file.truncate(file.tell() + size)


def own(*steps: int) -> dict[int, tuple[str, ...]]:
    """Each step with its own file, except that step 1 has step 0's."""
    return {step: (f"s{0 if step == 1 else step}",) for step in steps}


def pythia(**other: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """Pythia's 154 steps as they should be, but for those given as `s1000=...`."""
    return {**own(*PYTHIA_STEPS), **{int(step[1:]): labels for step, labels in other.items()}}


def _shared(steps: tuple[int, ...], label: str) -> dict[str, tuple[str, ...]]:
    return {f"s{step}": (label,) for step in steps}


def _twelve() -> dict[int, tuple[str, ...]]:
    whole = {step: (f"a{s}", f"b{s}") for step in PYTHIA_STEPS for s in [0 if step == 1 else step]}
    return {**whole, 50000: ("a143000", "b50000"), 58000: ("a143000", "b58000")}


_EIGHT = pythia(**_shared(PYTHIA_2_8B_AS_MAIN, "main"), **_shared(PYTHIA_2_8B_SECOND, "second"))
_EIGHT_WRONG = frozenset({*PYTHIA_2_8B_AS_MAIN, *PYTHIA_2_8B_SECOND})
_FIRST_17 = PYTHIA_STEPS[:17]  # 0 to 6000
_END = ("s143000",)

REPORTS = {
    "pythia-205": Report("EleutherAI/pythia#205", "EleutherAI/pythia-2.8b", _EIGHT, ("main",), wrong=_EIGHT_WRONG),
    "pythia-205-bins": Report(
        "EleutherAI/pythia#205, were each .bin its own", "EleutherAI/pythia-2.8b", _EIGHT, ("main",),
        wrong=_EIGHT_WRONG, bins=True,
    ),
    "pythia-195": Report(
        "EleutherAI/pythia#195 by itself", "EleutherAI/pythia-2.8b", pythia(**_shared(_FIRST_17, "late")), _END,
        wrong=frozenset(_FIRST_17),
    ),
    "pythia-206": Report(
        "EleutherAI/pythia#206", "EleutherAI/pythia-12b", _twelve(), ("a143000", "b143000"), frozenset({"a0", "b0"}),
        wrong=frozenset({50000, 58000}),
    ),
    "pythia-202": Report(
        "EleutherAI/pythia#202", "EleutherAI/pythia-410m-seed9", pythia(s40000=()), _END, wrong=frozenset({40000})
    ),
    "pythia-203": Report(
        "EleutherAI/pythia#203", "EleutherAI/pythia-160m-weight-seed1", pythia(s0=("other",)), _END,
        frozenset({"s0", "other"}), wrong=frozenset({0}),
    ),
    "pythia-198": Report(
        "EleutherAI/pythia#198, the shared weights being untrained", "EleutherAI/pythia-70m", pythia(s2=("s0",)), _END,
        wrong=frozenset({2}),
    ),
    "pythia-83": Report("EleutherAI/pythia#83 (no fault)", "EleutherAI/pythia-70m", pythia(), _END),
    "olmo-915": Report(
        "allenai/OLMo#915", "allenai/OLMo-2-1124-7B",
        {**own(*range(100000, 310000, 1000)), **dict.fromkeys((101000, 175000, 300000), ("one",))}, ("soup",),
        wrong=frozenset({101000, 175000, 300000}), revision=lambda s: f"stage1-step{s}-tokens{s * 42 // 10000}B",
    ),
    "bloom": Report(
        "BLOOM-7b1, 100000 as 200000 (no public report found)", "bigscience/bloom-7b1-intermediate",
        {**own(1000, 10000, 50000, 100000, 150000, 250000, 300000), 200000: ("s100000",)},
        wrong=frozenset({100000, 200000}), revision=lambda s: f"global_step{s}",
    ),
    "start-is-end": Report(
        "made up: the finished model as steps 0 and 1", "EleutherAI/pythia-70m", pythia(s0=_END, s1=_END), _END,
        wrong=frozenset({0, 1, 143000}),
    ),
    "start-is-trained": Report(
        "made up: trained weights of nobody else as step 0", "EleutherAI/pythia-70m", pythia(s0=("x",), s1=("x",)),
        _END,
        wrong=frozenset({0, 1}),
    ),
    "late-is-start": Report(
        "made up: step 0's file as steps 5000 and 6000", "EleutherAI/pythia-70m", pythia(s5000=("s0",), s6000=("s0",)),
        _END, wrong=frozenset({5000, 6000}),
    ),
    "late-is-untrained": Report(
        "made up: another initialisation as step 5000", "EleutherAI/pythia-70m", pythia(s5000=("x",)), _END,
        frozenset({"s0", "x"}), wrong=frozenset({5000}),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What an audit says of a replay."""

    flagged: frozenset[int]
    trusted: frozenset[int]
    main: str
    lines: list[str]
    looks: int
    downloads: int

    def missed(self, report: Report) -> list[int]:
        """Wrong steps that are trusted."""
        return sorted(report.wrong & self.trusted)

    def beyond(self, report: Report) -> list[int]:
        """Steps flagged that are not reported wrong."""
        return sorted(self.flagged - report.wrong)


def replay(report: Report, root: Path, *, whole_files: bool = False) -> Verdict:
    """Serve a report and audit it; a hub with `whole_files` answers no range requests."""
    from massact.checkpoints.audit import audit
    from tests.hub import serving

    with serving({report.repository: report.serve(root / "served")}, whole_files=whole_files) as hub:
        result = audit(report.source(hub.url, root / "hub"), look_at_all=True)
        looks, downloads = hub.requests["range"], hub.requests["file"]
    flagged = frozenset({*result.suspects, *result.errors})
    trusted = frozenset(result.identities) - flagged
    return Verdict(flagged, trusted, result.final_suspect, result.lines(), looks, downloads)
