"""Notebooks 01 and 02, run on small studies that are trained here."""

import ast
import copy
import re
from pathlib import Path

import nbformat
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from nbclient import NotebookClient

from optlab.training.run import run

ROOT = Path(__file__).parents[2]
NAMES = ["01_compare_optimizers", "02_look_inside_a_cnn"]
QUICK = ["data=digits", "callbacks=none", "logger=none", "trainer=cpu", "trainer.max_epochs=2"]


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    return cells


def train(outputs, study, *rows):
    """One run for each row of overrides; gives the study's folder."""
    for row in rows:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            run(compose("train", [*QUICK, f"outputs={outputs}", f"study={study}", *row]))
    return str(outputs / study)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    optimizers = [
        [f"optimizer={name}", f"seed={seed}"] for name in ("sgd", "adam") for seed in (0, 1)
    ]
    optimizers.append(["optimizer=sgd", "optimizer.lr=1.0e9", "run_name=wild"])
    cnn = ["model=cnn", "model.hidden_sizes=[16]"]
    sizes = [[*cnn, f"model.filters={filters}"] for filters in ("[2]", "[4]", "[2,4]")]
    return {
        "OPTLAB_STUDY": train(outputs, "optimizers", *optimizers),
        "OPTLAB_CNN_STUDY": train(outputs, "cnn", [*cnn, "model.filters=[4,8]"]),
        "OPTLAB_SIZE_STUDY": train(outputs, "sizes", *sizes),
        "OPTLAB_FIGURES": str(outputs / "figures"),
    }


def executed(name, environment, monkeypatch):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    notebook = copy.deepcopy(read(name))
    folder = {"metadata": {"path": ROOT / "notebooks"}}
    NotebookClient(notebook, timeout=120, resources=folder).execute()
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Warning" not in printed
    results = [output for output in outputs if output.output_type == "execute_result"]
    return len(pictures), printed + "".join(output.data["text/plain"] for output in results)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_stored_without_outputs(name):
    for cell in code_cells(read(name)):
        assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("name", NAMES)
def test_notebook_defines_no_function_and_no_class(name):
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code_cells(read(name)):
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, definitions)]
        assert not found, cell.source


@pytest.mark.slow
def test_first_notebook_reads_a_study_and_saves_its_figures(environment, monkeypatch):
    num_pictures, printed = executed("01_compare_optimizers", environment, monkeypatch)
    assert num_pictures == 5  # differences, losses, accuracies, gap, confusion
    assert "5 runs, 0 unfinished, 0 damaged" in printed
    assert "['loss.pdf', 'loss.png', 'summary.csv']" in printed
    assert re.search(r"wild +0 +inf +inf", printed)  # diverged: a miss, and in the table


@pytest.mark.slow
def test_second_notebook_looks_inside(environment, monkeypatch):
    num_pictures, printed = executed("02_look_inside_a_cnn", environment, monkeypatch)
    assert num_pictures == 6  # curves, filters, maps, samples, confusion, sizes
    assert "test accuracy" in printed
