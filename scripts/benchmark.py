"""How fast OptLab is, next to a bare PyTorch loop and the usual pipeline, in one run.

python scripts/benchmark.py                                  all that a CPU can show
python scripts/benchmark.py --lines epoch-mnist-mlp startup  some of it
python scripts/benchmark.py --device cuda --output benchmark with replicas and the speed run
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is in no wheel

from benchmarks.contenders import Settings
from benchmarks.lines import LINES, default_lines, measure_line
from benchmarks.machine import BUSY_LOAD, describe_machine
from benchmarks.results import Report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--lines", nargs="+", choices=LINES, metavar="LINE", help=f"among: {', '.join(LINES)}")
    add("--repeats", type=int, help="of every contender, in turns (5; 1 with --quick)")
    add("--threads", type=int, default=1, help="torch threads of every contender (%(default)s)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    add("--workers", nargs="*", type=int, default=[0, 2], help="of the usual DataLoader (0 2)")
    add("--cifar-root", type=Path, help="CIFAR-10 as an image folder; else random pixels")
    add("--override", action="append", default=[], help="of every OptLab run, e.g. trainer.X=Y")
    add("--quick", action="store_true", help="tiny data: shows that it works, measures nothing")
    add("--output", type=Path, help="folder for benchmark.json, benchmark.md and benchmark.png")
    options = parser.parse_args(arguments)
    repeats = options.repeats or (1 if options.quick else 5)
    if repeats < 1 or options.threads < 1 or min(options.workers, default=0) < 0:
        parser.error("--repeats and --threads are at least 1, --workers at least 0")

    from rich.console import Console

    from benchmarks.tables import markdown, table

    console = Console()
    machine = describe_machine(options.device, options.threads, repeats)
    if machine["load_at_start"] > BUSY_LOAD:
        console.print(f"[yellow]the machine is busy (load {machine['load_at_start']}): wait, or")
        console.print("[yellow]take these figures for no more than a try[/yellow]")
    settings = Settings(
        device=options.device,
        repeats=repeats,
        threads=options.threads,
        workers=tuple(options.workers),
        cifar_root=options.cifar_root,
        overrides=tuple(options.override),
        quick=options.quick,
    )
    report = Report(machine, [])
    for name in options.lines or default_lines(options.device):
        with console.status(f"measuring {name}"):
            line = measure_line(name, settings)
        console.print(table(line))
        report.lines.append(line)
        if options.output:  # after every line: what is measured is not lost with a later one
            options.output.mkdir(parents=True, exist_ok=True)
            report.write(options.output / "benchmark.json")
            (options.output / "benchmark.md").write_text(markdown(report))
    if options.output:
        from benchmarks.figure import RatiosDisplay

        try:
            RatiosDisplay(report=report).plot().save(options.output / "benchmark.png")
        except ValueError as error:
            console.print(str(error))
        console.print(f"written to {options.output}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
