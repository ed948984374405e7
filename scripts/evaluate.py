"""Evaluate a checkpoint of a run again: `python scripts/evaluate.py outputs/mnist-mlp/RUN`.

python scripts/evaluate.py outputs/mnist-mlp/RUN                         best weights, validation
python scripts/evaluate.py outputs/mnist-mlp/RUN --split test --weights last
python scripts/evaluate.py outputs/mnist-mlp/RUN/checkpoints/best.ckpt
"""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Run trainer.validate or trainer.test on a checkpoint of a run."
    )
    parser.add_argument("run", type=Path, help="folder of a run, or a checkpoint in it")
    parser.add_argument(
        "--split", choices=("val", "test"), default="val", help="val decides, test only reports"
    )
    parser.add_argument(
        "--weights", choices=("best", "last"), default="best", help="unused with a checkpoint"
    )
    options = parser.parse_args(arguments)
    from optlab.runs.folder import RunFolder

    run_dir, checkpoint = options.run, RunFolder(options.run).checkpoint(options.weights)
    if options.run.suffix == ".ckpt":
        run_dir, checkpoint = options.run.resolve().parent.parent, options.run

    from optlab.training.evaluate import evaluate_checkpoint
    from optlab.training.process import prepare_process

    prepare_process(num_threads=1, on_cuda=False)
    try:
        metrics = evaluate_checkpoint(run_dir, checkpoint, options.split)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{checkpoint}")
    for name, value in metrics.items():
        print(f"  {name:14} {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
