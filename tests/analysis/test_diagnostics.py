import pandas as pd
import pytest
from made_studies import workload_of

from optlab.analysis.diagnostics import read_diagnostics
from optlab.plots.diagnostics import DiagnosticsDisplay
from optlab.plots.palette import styles_by_label
from optlab.runs.folder import DIAGNOSTIC_COLUMNS


@pytest.fixture
def writer(new_study):
    writer = new_study()
    for optimizer, values in (("sgd", (0.1, 0.3)), ("adam", (0.5, 0.7))):
        for seed, value in enumerate(values):
            folder = writer.run(optimizer, seed)
            rows = [(1, 10, "update_ratio", layer, value * k) for layer, k in (("a", 1), ("b", 2))]
            table = pd.DataFrame(rows, columns=DIAGNOSTIC_COLUMNS)
            table.to_csv(folder / "diagnostics.csv", index=False)
    return writer


def test_values_are_means_over_seeds(writer):
    table = read_diagnostics(workload_of(writer).configurations).set_index(
        ["configuration", "layer"]
    )["value"]
    assert table["sgd", "a"] == pytest.approx(0.2)
    assert table["adam", "b"] == pytest.approx(1.2)


def test_picture_has_a_panel_for_what_there_is_and_the_median_of_the_layers(writer):
    configurations = workload_of(writer).configurations
    table = read_diagnostics(configurations)
    display = DiagnosticsDisplay(table=table, styles=styles_by_label(configurations))
    assert display.plot().panels == ["update_ratio"]
    line = display.artists["lines"]["update_ratio", "sgd"]
    assert line.get_ydata() == pytest.approx([(0.2 + 0.4) / 2])


def test_file_with_other_columns_is_named(writer):
    path = next(writer.folder.glob("sgd*/diagnostics.csv"))
    path.write_text("epoch,value\n1,2\n")
    configurations = workload_of(writer).configurations
    with pytest.raises(ValueError, match=str(path)):
        read_diagnostics(configurations)
