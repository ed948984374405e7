"""The summary as people read it: one row of text for each group, in page and markdown alike."""

from optlab.results.display import NOTHING, count, percent_estimate, points, seconds
from optlab.results.page import Cell
from optlab.results.summary import GroupSummary
from optlab.results.terminal import target_cell

SUMMARY_COLUMNS = (
    "#",
    "setting",
    "runs",
    "validation %",
    "test %",
    "test %, last weights",
    "train %",
    "gap",
    "best epoch",
    "epochs to target",
    "training",
    "images/s",
    "verdict",
)
SUMMARY_LEFT = (1, 12)


def label_cell(row: GroupSummary) -> Cell:
    return Cell(row.label, row.group.style)


def summary_cells(row: GroupSummary) -> list[str | Cell]:
    """One row of the summary for reading, in the order of SUMMARY_COLUMNS."""
    best_epoch = row.median(lambda run: run.metric("validation", "best", "epoch"))
    num_epochs = row.median(lambda run: run.number("num_epochs"))
    train_time = row.mean(lambda run: run.number("train_time_s"))
    speed = row.mean(lambda run: run.number("images_per_s"))
    total = len(row.group.runs)
    return [
        str(row.rank),
        label_cell(row),
        str(total) if row.num_finished == total else f"{row.num_finished} of {total}",
        percent_estimate(row.accuracy("validation")),
        percent_estimate(row.accuracy("test")),
        percent_estimate(row.accuracy("test", "last")),
        percent_estimate(row.accuracy("train")),
        points(row.gap.mean) if row.gap else NOTHING,
        f"{count(best_epoch)} of {count(num_epochs)}" if best_epoch else NOTHING,
        target_cell(row),
        seconds(train_time.mean if train_time else None),
        count(float(f"{speed.mean:.3g}")) if speed else NOTHING,
        row.brief_verdict,
    ]
