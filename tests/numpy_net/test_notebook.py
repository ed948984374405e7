import ast
import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_optimizers_by_hand.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    return cells


def test_notebook_is_stored_without_outputs(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None


def test_notebook_defines_no_function_and_no_class(notebook):
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code_cells(notebook):
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, definitions)]
        assert not found, cell.source


@pytest.mark.slow
def test_notebook_runs_and_shows_its_pictures(notebook):
    executed = copy.deepcopy(notebook)
    folder = {"metadata": {"path": NOTEBOOK.parent}}
    NotebookClient(executed, timeout=120, resources=folder).execute()
    outputs = [output for cell in code_cells(executed) for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    # one of the losses, four of surfaces, one of the saddle, one of the full batch
    assert len(pictures) == 7
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    for activation in ("relu", "tanh", "gelu", "sigmoid"):
        assert re.search(rf"^{activation}\b.* \d+e[+-]\d+", printed, re.MULTILINE)
    largest = re.search(r"^largest .* (\d+e[+-]\d+)$", printed, re.MULTILINE)
    assert float(largest[1]) < 1e-12  # float64, only rounding
    assert "Warning" not in printed
