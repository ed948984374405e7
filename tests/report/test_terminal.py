"""The ranked table in a terminal."""

import io

from rich.console import Console

from optlab.analysis import read_study
from optlab.report import print_summary


def test_terminal_table_fits_eighty_columns(new_study):
    writer = new_study()
    for seed in range(5):
        for optimizer in ("adam", "adamw", "sgd"):
            writer.run(optimizer, seed)
    writer.run("rmsprop", 0, status="diverged", reason="loss is NaN at 80")
    stream = io.StringIO()
    print_summary(read_study(writer.folder), Console(file=stream, width=80))
    text = stream.getvalue()
    table = [line for line in text.splitlines() if "━" in line]
    assert len(table) == 4  # no row is folded
    assert max(map(len, table)) <= 80
    assert "0/1" in table[-1]
    assert "loss is NaN at 80" in text
    assert ": python train.py optimizer=rmsprop seed=0\n" in text
