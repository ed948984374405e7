"""What every optimizer's model says about images, in the terminal.

python scripts/predict.py seven.png photo.jpg
python scripts/predict.py seven.png --study mnist-cnn --outputs outputs
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Ask every optimizer's model about images.")
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="image",
        help="PNG, JPEG, WebP, GIF, BMP, TIFF or PPM, also a photo of any size",
    )
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of studies")
    parser.add_argument("--study", help="which one; without it the newest")
    options = parser.parse_args(arguments)

    from rich.console import Console

    from optlab.web.optional_deps import explain_missing_deps

    with explain_missing_deps():
        from optlab.web.inference import Networks
        from optlab.web.novelty import References
        from optlab.web.terminal import answer_table

    networks = Networks()
    references = References(networks)
    num_failed = 0
    for image in options.images:
        try:
            table = answer_table(image, options.outputs, options.study, networks, references)
            Console().print(table)
        except ValueError as error:  # the other images may be answered
            print(error, file=sys.stderr)
            num_failed += 1
    return 1 if num_failed else 0


if __name__ == "__main__":
    sys.exit(main())
