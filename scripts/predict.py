"""What every optimizer's model says about one image, in the terminal.

python scripts/predict.py seven.png
python scripts/predict.py seven.png --study mnist-cnn --outputs outputs
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask every optimizer's model about one image.")
    parser.add_argument("image", type=Path, help="of any format that training reads")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs", help="folder of studies")
    parser.add_argument("--study", help="which one; without it the newest")
    options = parser.parse_args()
    if not options.image.is_file():
        parser.error(f"{options.image} is no file")

    from rich.console import Console

    from optlab.web.optional_deps import explain_missing_deps

    with explain_missing_deps():
        from optlab.web.terminal import answer_table

    try:
        table = answer_table(options.image, options.outputs, options.study)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
