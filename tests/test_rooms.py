"""Each sub-package imports only from those below it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "massact"
# Below each room of massact.fit: what it may import of massact.fit.
BELOW = {
    "forms": {"forms", "checks", "status"},
    "engine": {"engine", "forms", "checks", "status"},
    "judgement": {"judgement", "engine", "forms", "checks", "status", "schemas"},
}


# `massact.tables.seal` finds the schema of a table by its columns, among these.
LOOKED_UP = {
    SOURCE / "trajectories" / "schemas.py",
    SOURCE / "fit" / "schemas.py",
    SOURCE / "fit" / "forms" / "__init__.py",
}


def imports(path: Path) -> set[str]:
    """Modules of massact that a file imports, also inside functions but not for annotations alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imports = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("massact"):
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names if alias.name.startswith("massact")}
    return imports


# Sub-packages that do not import each other; what both need is at the root of the package.
APART = [("findings", "report"), ("report", "findings")]


@pytest.mark.parametrize(("room", "other"), APART)
def test_findings_and_report_do_not_import_each_other(room, other):
    for path in (SOURCE / room).rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith(f"massact.{other}")], path.name


@pytest.mark.parametrize("room", BELOW)
def test_wings_of_fit_import_only_what_is_below_them(room):
    for path in (SOURCE / "fit" / room).rglob("*.py"):
        for name in imports(path):
            if name.startswith("massact.fit."):
                assert name.split(".")[2] in BELOW[room], f"{path.name} imports {name}"


def module_of(name: str) -> Path | None:
    """The file of an imported name: a module, or a module's attribute."""
    parts = name.split(".")[1:]
    for end in (len(parts), len(parts) - 1):
        base = SOURCE.joinpath(*parts[:end])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def test_no_module_imports_itself_in_a_circle():
    edges = {
        path: {target for name in imports(path) if (target := module_of(name)) not in (None, path)}
        for path in SOURCE.rglob("*.py")
        if path.name != "__init__.py"  # packages name their modules lazily
    }
    edges[SOURCE / "tables.py"] -= LOOKED_UP
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, " -> ".join(step.stem for step in (*above[above.index(path) :], path))
        if path in done:
            return
        for target in edges.get(path, set()):
            visit(target, (*above, path))
        done.add(path)

    for path in edges:
        visit(path, ())
