"""Make a study's report again, without training: `python scripts/report.py outputs/mnist-mlp`."""

import argparse
import sys

from rich.console import Console


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Read a study's records, print the ranked table, and write its report again."
    )
    parser.add_argument("study_dir", help="folder of a study, such as outputs/mnist-mlp")
    options = parser.parse_args(arguments)

    from optlab.analysis import read_study
    from optlab.report import make_report, print_summary
    from optlab.studies.mean_curves import write_mean_curves

    try:
        study = read_study(options.study_dir)
        print_summary(study, Console())
        page = make_report(options.study_dir)
        write_mean_curves(study)
    except (ValueError, OSError) as error:  # OSError: a folder that cannot be written, mostly
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\nreport: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
