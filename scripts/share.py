"""Write a study's page as a folder for any web server, without Python behind it.

python scripts/share.py outputs/mnist-cnn shared
python -m http.server --directory shared
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Write the page of a study, whose models then answer in the browser."
    )
    parser.add_argument("study_dir", type=Path, help="folder of a study, such as outputs/mnist-cnn")
    parser.add_argument("folder", type=Path, help="folder to write; it must not have files yet")
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FOLDER",
        help="where the package onnxruntime-web was unpacked; without it npm downloads it (33 MB)",
    )
    options = parser.parse_args(arguments)

    from optlab.web.optional_deps import explain_missing_deps

    with explain_missing_deps("share"):
        import onnxscript  # noqa: F401  by which torch.onnx exports

        from optlab.web.share import share_study

    try:
        shared = share_study(options.study_dir, options.folder, options.runtime)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in shared.left_out:
        print(f"left out: {line}")
    size = f"{shared.num_bytes / 1e6:,.1f} MB"
    print(f"{options.folder}: {shared.num_runs} runs answer, {size}")
    print(f"try it: python -m http.server --directory {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
