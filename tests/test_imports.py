"""The import fence of the house: which room may import which, and what stays out of each."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "optlab"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {
    "runs": set(),
    "data": {"runs"},
    "models": {"runs"},
    "optim": set(),
    "numpy_net": set(),
    "analysis": {"runs"},
    "plots": {"analysis", "numpy_net"},  # pictures of the reference's paths
    "report": {"runs", "analysis", "plots"},
    # model=mlp_numpy is trained by the reference
    "training": {"runs", "models", "optim", "analysis", "plots", "numpy_net"},
    "studies": {"runs", "training", "analysis", "report"},
    "web": {"runs", "models", "data", "analysis", "plots", "numpy_net"},  # races on surfaces
}
# A library and the rooms that may import it
LIBRARIES = {
    "hydra": {"training", "studies"},
    "omegaconf": {"training", "studies"},
    "lightning": {"data", "training"},
    "fastapi": {"web"},
    "uvicorn": {"web"},
    "matplotlib": {"plots"},
    "torch": set(ROOMS) - {"runs", "analysis", "plots", "report", "numpy_net"},
    "torchvision": set(ROOMS) - {"runs", "analysis", "plots", "report", "numpy_net"},
}


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


@cache
def imports_of(path):
    """Return every dotted name that a module imports, also within its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_rooms_were_found():
    assert len(MODULES) >= 60
    found = {room_of(path) for path in MODULES} - {None}
    assert found <= set(ROOMS)
    assert found >= set(ROOMS)
    assert "optlab.optim.schedules" in imports_of(PACKAGE / "training" / "classifier.py")


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_no_other_than_it_may(room):
    others = set(ROOMS) - ROOMS[room] - {room}
    for path in (PACKAGE / room).rglob("*.py"):
        imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("optlab.")}
        assert not imported & others, path


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_stays_in_its_rooms(library):
    importing = {
        room_of(path)
        for path in MODULES
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert importing <= LIBRARIES[library]


def test_nothing_is_called_utils():
    assert not [path for path in MODULES if "util" in path.stem or "helper" in path.stem]


def test_nothing_imports_scripts_notebooks_or_tests():
    for path in [*MODULES, *PACKAGE.parent.glob("hydra_plugins/*.py")]:
        tops = {name.split(".")[0] for name in imports_of(path)}
        assert not tops & {"scripts", "benchmarks", "notebooks", "tests", "train"}, path
