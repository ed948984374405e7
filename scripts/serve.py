"""Serve the page: draw a digit, and every optimizer's model answers.

python scripts/serve.py                    # http://127.0.0.1:8000, models of outputs/
python scripts/serve.py --train            # no model yet: trains five, about a minute
python scripts/serve.py --host 0.0.0.0     # for others in the network as well, with a QR code
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # has train.py and conf/; in a wheel, the package
RACE_STEPS = 300
RACE_REPORT_STEPS = 5  # of the 12 of an epoch
MAX_CONNECTIONS = 800  # below the 1,024 open files that systems grant; more get 503


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the page on which models answer drawings.")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of studies")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in the network in")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--name",
        help="host name under which others reach the page, where it is not this computer's address",
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="with no trained model: train five optimizers on digits (conf/experiment/page.yaml)",
    )
    parser.add_argument(
        "--race",
        action="store_true",
        help="let others in the network start a live race as well, which trains on this computer",
    )
    options = parser.parse_args()

    from optlab.web.optional_deps import explain_missing_deps

    with explain_missing_deps():
        import uvicorn

        from optlab.web.app import create_app
        from optlab.web.network import LOOPBACK, LimitedHTTP, PortTaken, list_addresses, listen
        from optlab.web.qr_code import qr_text
        from optlab.web.run_index import RunIndex

    outputs = options.outputs.expanduser().resolve()
    try:
        listener = listen(options.host, options.port)
    except PortTaken as error:
        print(error, file=sys.stderr)
        return 1
    num_models = len(RunIndex(outputs).table().models)
    training = None
    if options.train and num_models:
        print(f"{outputs} already has {num_models} trained models; nothing to train.")
    elif options.train:
        command = [sys.executable, str(ROOT / "train.py"), *study_arguments(outputs)]
        training = subprocess.Popen(command)
    elif not num_models:
        print(f"No trained model in {outputs} yet: train.py makes one, --train makes five.")

    names = [options.name] if options.name else list_addresses(options.host)
    is_public = options.name is not None or not LOOPBACK.issuperset(names)
    port = listener.getsockname()[1]
    url = f"http://{names[0]}:{port}"
    print(f"{url}  (Ctrl+C stops)", flush=True)
    if is_public and sys.stdout.encoding.lower().startswith("utf"):  # else it has no such blocks
        print(qr_text(url), flush=True)
    app = create_app(
        outputs,
        allowed_hosts={*LOOPBACK, *names},
        address=url if is_public else None,
        train_command=None if is_public else train_command(outputs),
        race_commands=race_commands if options.race or not is_public else None,
        is_stopping=lambda: server.should_exit,
        is_training=lambda: training is not None and training.poll() is None,
    )
    config = uvicorn.Config(
        app,
        http=LimitedHTTP,
        log_level="warning",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        ws="none",
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it once more when all has ended
        pass
    finally:
        if training is not None and training.poll() is None:
            training.terminate()
            training.wait(timeout=30)
    return 0


def race_commands(folder: Path) -> dict[str, list[str]]:
    """Return the commands of a live race in `folder`: the page's runs, shorter, on the digits."""
    from omegaconf import OmegaConf

    from optlab.training.commands import quote_override

    rows = OmegaConf.load(ROOT / "conf" / "experiment" / "page.yaml").hydra.sweeper.rows
    overrides = [
        "experiment=page",
        "hydra.mode=RUN",
        "data.name=digits_european",
        "study=race",
        f"seed={time.time_ns() % 1000}",
        f"trainer.max_steps={RACE_STEPS}",
        f"+trainer.val_check_interval={RACE_REPORT_STEPS}",
        "callbacks.snapshots=null",
        "+callbacks.live._target_=optlab.training.live.LiveReports",
        quote_override("+callbacks.live.drawing", folder / "drawing.npy"),
        quote_override("outputs", folder / "runs"),
    ]
    return {
        str(name): [
            *(sys.executable, str(ROOT / "train.py"), *overrides, *row),
            quote_override("+callbacks.live.file", folder / f"{name}.jsonl"),
        ]
        for name, row in rows.items()
    }


def study_arguments(outputs: Path) -> list[str]:
    """Return what follows `train.py` to train five optimizers into `outputs`."""
    from optlab.training.commands import quote_override

    if outputs == Path("outputs").resolve():
        where = []
    elif re.fullmatch(r"[\w./-]+", str(outputs), re.ASCII):
        where = [f"outputs={outputs}"]
    else:
        where = [quote_override("outputs", outputs)]
    return ["experiment=page", *where]


def train_command(outputs: Path) -> str:
    """Return the command that the page offers, for the folder in which the server was started."""
    program = ["python", "train.py"] if Path.cwd() == ROOT else ["optlab"]
    return shlex.join([*program, *study_arguments(outputs)])


if __name__ == "__main__":
    sys.exit(main())
