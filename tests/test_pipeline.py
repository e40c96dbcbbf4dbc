"""The registry and dvc.yaml state the same inputs of a stage, and cover every module that decides its numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from massact.pipeline import FOUNDATION, KINDS, STAGES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/massact"
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PIPELINE = [name for name in STAGES if name in DVC]


def stated(name: str) -> tuple[set[str], dict[str, set[str]]]:
    """A stage's `deps`, and its `params` by file, of dvc.yaml."""
    params: dict[str, set[str]] = {}
    for entry in DVC[name].get("params", []):
        for path, keys in {"params.yaml": [entry]}.items() if isinstance(entry, str) else entry.items():
            params.setdefault(path, set()).update(keys or [])
    return set(DVC[name]["deps"]), params


def test_every_stage_of_dvc_is_registered():
    assert set(DVC) - {"pulled"} <= set(STAGES)
    assert {stage.kind for stage in STAGES.values()} == {*KINDS, ""}


@pytest.mark.parametrize("name", PIPELINE)
def test_dvc_states_the_inputs_of_the_registry(name):
    stage, (deps, params) = STAGES[name], stated(name)
    assert deps == {*stage.data, *(f"src/massact/{path}" for path in stage.code)}
    expected = {f"conf/{path}": set(keys) for path, keys in stage.conf.items()}
    expected |= {f"src/massact/{path}": set(names) for path, names in stage.versioned.items()}
    assert params == expected | ({"params.yaml": set(stage.params)} if stage.params else {})


@pytest.mark.parametrize("name", PIPELINE)
def test_everything_a_stage_imports_is_among_its_inputs(name):
    """An edit of any other module cannot change what it writes; a version stands for the code of extraction."""
    stage = STAGES[name]
    known = (*stage.code, *stage.beside, *FOUNDATION)
    for path in (*stage.code, *stage.beside, *FOUNDATION):
        assert (PACKAGE / path).exists(), path
    if stage.versioned:
        return
    imported = closure(PACKAGE / f"stages/{name}.py", stop=(*stage.beside, *FOUNDATION))
    assert not [path for path in sorted(imported) if not covered(path, known)]


def covered(path: str, by: tuple[str, ...]) -> bool:
    return any(path == entry or path.startswith(f"{entry}/") for entry in by)


def closure(start: Path, stop: tuple[str, ...]) -> set[str]:
    """Modules below src/massact/ that one imports, at once or in a function, and those that these import."""
    known, left = set(), [start]
    while left:
        path = left.pop()
        name = path.relative_to(PACKAGE).as_posix()
        if name in known:
            continue
        known.add(name)
        if not covered(name, stop):
            left += imports(path)
    return known


def imports(path: Path) -> Iterator[Path]:
    def walk(node: ast.AST) -> Iterator[ast.ImportFrom]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom):
                yield child
            if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
                yield from walk(child)

    for found in walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = (found.module or "").split(".")
        if parts[0] == "massact":
            for alias in found.names:
                yield from homes(PACKAGE.joinpath(*parts[1:]), alias.name)


def homes(base: Path, name: str) -> list[Path]:
    """The files that `from base import name` runs; a package's lazy names are looked up where they are."""
    if base.with_suffix(".py").is_file():
        return [base.with_suffix(".py")]
    if (base / f"{name}.py").is_file():
        return [base / f"{name}.py"]
    if (base / name).is_dir():
        return [base / name / "__init__.py"]
    init = base / "__init__.py"
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return [init, *homes(PACKAGE.joinpath(*(node.module or "").split(".")[1:]), name)]
    return [init]
