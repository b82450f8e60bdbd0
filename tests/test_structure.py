"""The order of the package, computed from its imports: which room may use which, and what no file may do.

A room is a module or a package directly below `sonopsis`. The rules hold for imports inside functions and for those of
annotations (`TYPE_CHECKING`) too, because both tie one room to another just as much.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sonopsis"
LONGEST = 400  # lines of a file

# From the lowest floor to the highest, as data flows in docs/design.md. A room imports rooms of lower floors alone, so
# there are no circles, and rooms of one floor do not know each other.
FLOORS = (
    ("handover", "installed", "ontology"),
    (
        "audio",
        "calibration",
        "decoding",
        "files",
        "processor",
        "pruning",
        "recorders",
        "results",
        "unfilled",
    ),
    ("live", "request", "whisper_mel"),
    ("events", "many", "mel", "encoder", "causal", "mamba2", "writers"),
    ("data", "checkpoints", "cost", "lora"),
    ("captioning", "scenes"),
    ("folder",),
    ("graphs", "modules"),
    ("export", "hub"),
    ("engines",),
    ("speaker",),
    ("asking",),
    ("model",),
    ("moments", "passages"),
    ("scale",),
    ("sonopsis",),  # __init__.py: load, prune, restore
    ("facts", "metrics"),
    ("training",),
    ("bench",),
    ("study",),
    ("serve",),
    ("cli",),
    ("__main__",),
)

# Imports of a higher floor that stay, and why.
ALLOWED = {
    # `Mamba2LM.load` and `Mamba2LM.save` are promised names; they import the file formats when they are called.
    ("mamba2.model", "checkpoints.mamba2"),
}

# Rooms and modules that must work in an installation without torch.
TORCH_FREE = (
    "audio",
    "live",
    "mel",
    "whisper_mel",
    "calibration",
    "decoding",
    "ontology",
    "results",
    "asking",
    "events",
    "recorders",
    "writers",
    "data",
    "scenes",
    "metrics",
    "many",
    "handover",
    "installed",
    "processor",
    "folder",
    "hub",
    "model",
    "cost",
    "engines.choice",
    "engines.exported",
    "engines.runners",
    "graphs.names",
    "facts",
    "scale",
    "serve",
    "cli",
)


@dataclass(frozen=True)
class Import:
    """One imported module or name."""

    module: str  # of the package, or a foreign one
    name: str  # what is taken from it; empty when the module itself is imported
    at_once: bool  # when the importing module is imported; not in a function and not for annotations alone
    relative: bool


def parts_of(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below `sonopsis`; `__init__.py` of the package itself is "sonopsis"."""
    return {".".join(parts_of(file)) or "sonopsis": file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports(file: Path) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8")), at_once=True))


def _imports(node: ast.AST, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        now = at_once and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            now = False
        if isinstance(child, ast.ImportFrom):
            yield from (Import(child.module or "", name.name, now, child.level > 0) for name in child.names)
        elif isinstance(child, ast.Import):
            yield from (Import(name.name, "", now, False) for name in child.names)
        yield from _imports(child, now)


def own(found: Import) -> str | None:
    """The module of the package that is imported, by its name below `sonopsis`; None for other packages."""
    package, _, below = found.module.partition(".")
    if package != "sonopsis" or found.relative:
        return None
    whole = ".".join(filter(None, (below, found.name)))
    return whole if whole in modules() else below or "sonopsis"


def room(module: str) -> str:
    return module.split(".")[0]


def between_rooms() -> Iterator[tuple[str, str, Import]]:
    """Every import of one room by another: the importing module, the imported module, and the import."""
    for module, file in modules().items():
        for found in imports(file):
            target = own(found)
            if target is not None and room(target) != room(module):
                yield module, target, found


def test_every_room_stands_on_one_floor() -> None:
    placed = [name for floor in FLOORS for name in floor]
    assert sorted(placed) == sorted({room(module) for module in modules()})


def test_rooms_import_lower_floors_alone() -> None:
    height = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upward = {(module, target) for module, target, _ in between_rooms() if height[room(target)] >= height[room(module)]}
    assert upward == ALLOWED


def test_allowed_exceptions_are_imported_when_they_are_called() -> None:
    at_once = {(module, target) for module, target, found in between_rooms() if found.at_once}
    assert at_once & ALLOWED == set()


def test_no_private_name_leaves_its_room() -> None:
    private = [
        f"{module}: {target} {found.name}"
        for module, target, found in between_rooms()
        if any(part.startswith("_") and not part.startswith("__") for part in (*target.split("."), found.name))
    ]
    assert private == []


def test_imports_are_absolute() -> None:
    relative = {module for module, file in modules().items() if any(found.relative for found in imports(file))}
    assert relative == set()


def test_the_wheel_does_not_need_the_benchmarks_folder() -> None:
    names = {"benchmarks", "scripts", "tests", *(file.stem for file in (ROOT / "benchmarks").glob("*.py"))}
    found = [f"{m}: {i.module}" for m, file in modules().items() for i in imports(file) if room(i.module) in names]
    assert found == []


def needs_torch(module: str, seen: set[str]) -> str | None:
    """The chain of imports by which importing a module imports torch, or None."""
    parts = module.split(".")
    for name in ("sonopsis", *(".".join(parts[: n + 1]) for n in range(len(parts)))):
        if name in seen or name not in modules():
            continue
        seen.add(name)
        for found in imports(modules()[name]):
            if not found.at_once:
                continue
            if found.module.split(".")[0] == "torch":
                return f"{name} -> torch"
            target = own(found)
            if target is not None and (chain := needs_torch(target, seen)) is not None:
                return f"{name} -> {chain}"
    return None


@pytest.mark.parametrize("name", TORCH_FREE)
def test_what_works_without_torch_does_not_import_it(name: str) -> None:
    below = [module for module in modules() if module == name or module.startswith(f"{name}.")]
    assert below
    assert [chain for module in below if (chain := needs_torch(module, set())) is not None] == []


def test_the_search_for_torch_finds_it() -> None:
    assert needs_torch("encoder.vit", set()) == "encoder.vit -> torch"
    assert (needs_torch("bench.weights", set()) or "").endswith(" -> torch")


def test_files_are_short_and_named_for_their_subject() -> None:
    files = [file for folder in ("src", "benchmarks", "scripts") for file in (ROOT / folder).rglob("*.py")]
    assert {file.name for file in files} & {"util.py", "utils.py", "helpers.py", "common.py", "misc.py"} == set()
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_a_package_that_lists_its_files_lists_all_of_them() -> None:
    wrong = {}
    for file in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        listed = set(re.findall(r"\b\w+\.py\b", text))
        there = {other.name for other in file.parent.glob("*.py")} - {"__init__.py"}
        if listed and listed != there:
            wrong[file.parent.name] = listed ^ there
    assert wrong == {}
