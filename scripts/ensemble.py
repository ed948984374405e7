"""Average the finished runs of a study: python scripts/ensemble.py outputs/mnist_ensemble

Each run has kept its probabilities for the test images at its best weights; the ensemble is their
mean. Its gain is over the run that validation likes best. Writes report/ensemble.csv.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Average the finished runs of a study.")
    parser.add_argument("study_dir", type=Path, help="folder of a study: outputs/mnist_ensemble")
    options = parser.parse_args(arguments)

    from optlab.analysis import read_study
    from optlab.analysis.ensemble import Ensemble
    from optlab.analysis.formatting import percent, points
    from optlab.analysis.images import read_answers
    from optlab.analysis.workloads import refuse_mixture

    try:
        runs = [run for run in read_study(options.study_dir).counted_runs if run.is_finished]
        if not runs:
            raise ValueError(
                f"{options.study_dir} has no finished run.\n\nhint: train it to the end first"
            )
        refuse_mixture(runs)
        probabilities = []
        for run in runs:
            answered = read_answers(run, "best")
            if answered is None or answered.probabilities is None:
                raise ValueError(
                    f"{run.folder} has kept no probabilities for the test images.\n\n"
                    "hint: train it again with rerun=true, on one device"
                )
            labels = answered.labels
            probabilities.append(answered.probabilities)
        ensemble = Ensemble(
            names=[run.folder.name for run in runs],
            validation=np.array([run.metric("validation", "best") for run in runs]),
            probabilities=np.stack(probabilities),
            labels=labels,
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    path = options.study_dir / "report" / "ensemble.csv"
    path.parent.mkdir(exist_ok=True)
    ensemble.table().to_csv(path, index=False)
    shown = Table("run", "val %", "test %", "test loss", "", title=escape(str(options.study_dir)))
    for row in ensemble.rows:
        accuracies = percent(row.val_accuracy), percent(row.test_accuracy)
        shown.add_row(row.name, *accuracies, f"{row.test_loss:.4f}", row.role)
    Console().print(shown)
    repaired, broken = ensemble.repaired_and_broken
    print(
        f"gain over the single best: {points(ensemble.gain)} percentage points "
        f"({repaired} mistakes repaired, {broken} new, of {len(ensemble.labels):,} test images)\n"
        f"table: {path}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
