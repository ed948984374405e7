"""Keep a study in one small file, or lay one out to compare your own optimizer with.

python scripts/archive.py pack outputs/mnist-mlp mnist-mlp.tar.xz
python scripts/archive.py unpack mnist-mlp.tar.xz

The command that made the study, with your optimizer in place of its own, then trains yours only and
reports on all of them.
"""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 2 after an error."""
    parser = argparse.ArgumentParser(
        description="Keep a study's records, curves and answers in one file, without its weights."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    pack = actions.add_parser("pack", help="write a study's archive")
    pack.add_argument("study_dir", type=Path, help="folder of the study: outputs/mnist-mlp")
    pack.add_argument("archive", type=Path, help="file to write, *.tar.xz")
    unpack = actions.add_parser("unpack", help="lay an archive out as a study's folder")
    unpack.add_argument("archive", type=Path, help="such as mnist-mlp.tar.xz")
    unpack.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="where studies are (outputs)"
    )
    options = parser.parse_args(arguments)

    from optlab.runs.archive import pack_study, unpack_study

    try:
        if options.action == "pack":
            num_runs = pack_study(options.study_dir, options.archive)
            size = options.archive.stat().st_size
            print(f"{options.archive}: {num_runs} runs, {size / 1000:,.0f} kB")
        else:
            study = unpack_study(options.archive, options.outputs)
            print(f"{study}\nreport: python scripts/report.py {study}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
