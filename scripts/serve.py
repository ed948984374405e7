"""Serve the page: draw a digit, and every optimizer's model answers.

python scripts/serve.py                    # http://127.0.0.1:8000, models of outputs/
python scripts/serve.py --train            # no model yet: a minute on the embedded digits
python scripts/serve.py --host 0.0.0.0     # for others in the network as well
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
FIVE_OPTIMIZERS = "optimizer=sgd,adam,rmsprop,adagrad,adamw"


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the page on which models answer drawings.")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs", help="folder of studies")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in the network in")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--train",
        action="store_true",
        help="with no trained model: train five optimizers on the embedded digits first",
    )
    options = parser.parse_args()

    from optlab.web.optional_deps import explain_missing_deps

    with explain_missing_deps():
        import uvicorn

        from optlab.web.app import create_app
        from optlab.web.run_index import RunIndex

    outputs = options.outputs.expanduser().resolve()
    num_models = len(RunIndex(outputs).table().models)
    training = None
    if options.train and num_models:
        print(f"{num_models} trained models lie in {outputs} already; nothing to train.")
    elif options.train:
        training = subprocess.Popen(train_command(outputs), cwd=ROOT)
    elif not num_models:
        print(f"No trained model in {outputs} yet: train.py makes one, --train makes five.")

    is_loopback = options.host in LOOPBACK
    app = create_app(
        outputs,
        allowed_hosts={"127.0.0.1", "localhost", "[::1]"} if is_loopback else None,
        is_training=lambda: training is not None and training.poll() is None,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"http://{host}:{options.port}  (Ctrl+C stops)", flush=True)
    try:
        uvicorn.run(
            app,
            host=options.host,
            port=options.port,
            log_level="warning",
            server_header=False,
            ws="none",
            limit_concurrency=256,
            timeout_graceful_shutdown=3,
        )
    finally:
        if training is not None and training.poll() is None:
            training.terminate()
            training.wait(timeout=30)
    return 0


def train_command(outputs: Path) -> list[str]:
    """Return the command that trains five optimizers on the embedded digits."""
    from optlab.training.commands import quote_override

    study = ["-m", "data=digits", FIVE_OPTIMIZERS, quote_override("outputs", outputs)]
    return [sys.executable, str(ROOT / "train.py"), *study]


if __name__ == "__main__":
    sys.exit(main())
