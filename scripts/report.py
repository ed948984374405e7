"""Make a study's report again, without training: `python scripts/report.py outputs/mnist-mlp`.

With --assert "adam > sgd" the exit code says whether the study shows as much (docs/verdict.md).
"""

import argparse
import sys

from rich.console import Console


def main(arguments: list[str] | None = None) -> int:
    """Return 0, 1 where an assertion does not hold or is undecided, or 2 after an error."""
    parser = argparse.ArgumentParser(
        description="Read a study's records, print the ranked table, and write its report again."
    )
    parser.add_argument("study_dir", help="folder of a study, such as outputs/mnist-mlp")
    parser.add_argument(
        "--assert",
        dest="assertions",
        metavar="CLAIM",
        action="append",
        default=[],
        help="'adam > sgd', or 'adam > sgd - 0.2' for at most 0.2 points lower on test; may be "
        "repeated. Exit code 0: every claim holds, 1: one does not or is undecided, 2: an error",
    )
    options = parser.parse_args(arguments)

    from optlab.analysis import read_study, summarize
    from optlab.analysis.assertions import HOLDS, judge, read_assertions
    from optlab.report import make_report, print_summary
    from optlab.studies.mean_curves import write_mean_curves

    try:
        study = read_study(options.study_dir)
        summaries = [summarize(workload) for workload in study.workloads]
        found = [one for text in options.assertions for one in read_assertions(text, summaries)]
        print_summary(study, Console())
        page = make_report(options.study_dir)
        write_mean_curves(study)
    except (ValueError, OSError) as error:  # OSError: a folder that cannot be written, mostly
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\nreport: {page}")
    outcomes = [judge(one) for one in found]
    for outcome in outcomes:
        print(outcome)
    return 0 if all(outcome.status == HOLDS for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
