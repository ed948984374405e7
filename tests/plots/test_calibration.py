"""The reliability diagram."""

import numpy as np
import pytest
from made_studies import summary_of

from optlab.analysis.calibration import measure_calibration
from optlab.analysis.images import read_all_answers
from optlab.plots.calibration import ReliabilityDisplay
from optlab.plots.palette import styles_by_label
from optlab.runs.folder import RunFolder


def test_line_has_the_bins_that_hold_answers(new_study):
    writer = new_study()
    folder = writer.run("adam", 0)
    sure = np.repeat(np.float16([0.55, 0.95]), 50)
    labels = np.where(np.arange(100) % 50 < 25, 0, 1)  # half of the answers are right
    np.savez(
        RunFolder(folder).test_probabilities, labels=labels, last=np.stack([sure, 1 - sure], axis=1)
    )
    summary = summary_of(writer)
    (row,) = summary.rows
    found = measure_calibration(row, read_all_answers(row.configuration.finished))
    styles = styles_by_label(summary.workload.configurations)
    display = ReliabilityDisplay(calibrations=[found], styles=styles).plot()
    x, y = display.artists["lines"]["adam"].get_data()
    assert list(x) == pytest.approx([55, 95], abs=0.1)
    assert list(y) == pytest.approx([50, 50])
