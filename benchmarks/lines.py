"""The lines of the benchmark: what is compared, and what it should be at most. No torch here."""

import csv
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.contenders import TRAIN, Settings, in_process, only_record, train, usual
from benchmarks.measure import alternate, paired_ratios
from benchmarks.problems import PROBLEMS
from benchmarks.process import Finished, ProgramFailed, run_program
from benchmarks.results import RATIO, LineResult, Quantity
from optlab.runs.record import RunRecord
from optlab.training.commands import quote_override

# An epoch of OptLab / bare loop, with neither graphs nor torch.compile
EPOCH_TARGETS = {
    "cpu": {"mnist-mlp": 1.05, "mnist-cnn": 1.02, "cifar10-mlp": 1.05},
    "cuda": {"mnist-mlp": 1.10, "mnist-cnn": 1.10, "cifar10-mlp": 1.10},
}
STANDARD_LOOP = "lean_loop=false"
GRAPHS, COMPILED = "cuda_graphs=true", "compile=true"
GRAPHS_TARGET_S = 0.15  # an MNIST MLP epoch with graphs
PROCESS_TARGET = 0.23  # / usual pipeline
PROCESS_EPOCHS = 5
SWEEP_TARGET = 0.62  # / one after the other
SWEEP_TARGET_CUDA_S = 30.0
SWEEP_OPTIMIZERS = "sgd,adam,rmsprop,adagrad,adamw"
CONFIG_TARGET_S = 0.6
MEMORY_TARGET_GIB = 1e9 / 2**30  # 1 GB
REPLICA_COUNTS = (1, 2, 4, 8, 16, 32, 64)
REPLICAS_TARGET = 1.5  # 16 replicas / 1
SPEEDRUN_ACCURACY = 0.94
LOADER_WORKERS = (0, 2, 4)


def measure_line(name: str, settings: Settings) -> LineResult:
    """Measure one line; a contender that fails is an error of its line, not of the others."""
    title, measure = LINES[name]
    try:
        conditions, quantities = measure(settings)
    except ProgramFailed as failure:
        return LineResult(name, title, "", error=str(failure))
    return LineResult(name, title, conditions, quantities)


Measured = tuple[str, list[Quantity]]  # conditions in words, and what was measured


# --- training seconds of an epoch ---------------------------------------------------------------


def _epoch(problem_name: str) -> Callable[[Settings], Measured]:
    def measure(settings: Settings) -> Measured:
        problem = PROBLEMS[problem_name]
        # A GPU is through in no time, and its first steps compile and record
        epochs = problem.epochs * (5 if settings.device == "cuda" else 1)
        variants = {"OptLab": [], "Lightning's own loop": [STANDARD_LOOP]}
        if settings.device == "cuda":
            variants |= {"OptLab, graphs": [GRAPHS], "OptLab, compiled": [COMPILED]}
        samples = in_process(
            measure="epoch",
            overrides=[*settings.optlab(problem.images), *problem.overrides],
            variants=variants,
            workers=settings.workers,
            epochs=epochs,
            threads=settings.threads,
            repeats=settings.repeats,
        )
        targets = {"OptLab": EPOCH_TARGETS[settings.device].get(problem_name)}
        quantities = [
            Quantity(f"{name}, an epoch", "s", values, _epoch_target_s(problem_name, name))
            for name, values in samples.items()
        ]
        quantities += [_ratio(samples, name, "bare loop", targets.get(name)) for name in variants]
        quantities += [
            _ratio(samples, "OptLab", name) for name in samples if name.startswith("usual")
        ]
        conditions = (
            f"{settings.images_title(problem.images)}, batches of 64, Adam (fused, except in the "
            f"usual pipeline), training only, mean of {epochs} epoch(s) a measurement, of one for "
            "the usual pipeline. Lightning's own loop runs OptLab's module, data and callbacks"
        )
        return conditions, quantities

    return measure


def _epoch_target_s(problem_name: str, contender: str) -> float | None:
    if problem_name == "mnist-mlp" and contender == "OptLab, graphs":
        return GRAPHS_TARGET_S
    return None


# --- images a second -----------------------------------------------------------------------------


def _loader(settings: Settings) -> Measured:
    samples = in_process(
        measure="loader",
        overrides=settings.optlab("mnist"),
        workers=LOADER_WORKERS,
        repeats=settings.repeats,
    )
    quantities = [Quantity(name, "images/s", values) for name, values in samples.items()]
    quantities += [
        Quantity(f"OptLab / {name}, images/s", RATIO, paired_ratios(samples["OptLab"], values))
        for name, values in samples.items()
        if name != "OptLab"
    ]
    return f"{settings.images_title('mnist')}, batches of 64, no network, on the CPU", quantities


# --- whole programs ------------------------------------------------------------------------------


def _process(settings: Settings) -> Measured:
    epochs = 1 if settings.quick else PROCESS_EPOCHS
    optlab = [*settings.optlab("mnist"), f"trainer.max_epochs={epochs}"]
    light = ["callbacks=none", "logger=none"]
    records_of: dict[str, list[RunRecord]] = {}

    with tempfile.TemporaryDirectory() as temporary:

        def own(name: str, overrides: Sequence[str]) -> Callable[[int], Finished]:
            def measure(repeat: int) -> Finished:
                outputs = Path(temporary) / name / str(repeat)
                finished = train([*overrides, quote_override("outputs", outputs)])
                if repeat >= 0:
                    records_of.setdefault(name, []).append(only_record(outputs))
                return finished

            return measure

        contenders = {
            "OptLab": own("OptLab", [*optlab, *light]),
            "OptLab with figures and TensorBoard": own(
                "OptLab with figures and TensorBoard", optlab
            ),
        }
        for num_workers in settings.workers:
            contenders[f"usual pipeline, {num_workers} workers"] = usual(
                settings, num_workers, epochs, Path(temporary) / f"usual-{num_workers}"
            )
        finished = alternate(contenders, settings.repeats)

    seconds = {name: [each.seconds for each in runs] for name, runs in finished.items()}
    quantities = [Quantity(f"{name}, whole process", "s", seconds[name]) for name in seconds]
    for name in seconds:
        if name.startswith("usual"):
            quantities += [
                _ratio(seconds, "OptLab", name, PROCESS_TARGET),
                _ratio(seconds, "OptLab with figures and TensorBoard", name),
            ]
    on_cpu = settings.device == "cpu"
    for name, runs in finished.items():
        peaks = [run.peak_memory_gib for run in runs if run.peak_memory_gib is not None]
        target = MEMORY_TARGET_GIB if on_cpu and name.startswith("OptLab") else None
        if peaks:
            quantities.append(Quantity(f"{name}, peak memory", "GiB", peaks, target))
    for name, found in records_of.items():
        peaks = [record.peak_memory_gib or 0.0 for record in found]
        whose = "peak memory" if on_cpu else "peak memory of the device"
        quantities.append(Quantity(f"{name}, {whose} in its record", "GiB", peaks))
    conditions = (
        f"MLP on {settings.images_title('mnist')}, {epochs} epoch(s) with validation, from start "
        "to exit. OptLab also tests, reads 10,000 training images again and writes its record; the "
        "usual pipeline does not test"
    )
    return conditions, quantities


def _startup(settings: Settings) -> Measured:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def own_first_step(repeat: int) -> float:
            mark = folder / f"optlab-{repeat}"
            callback = "+callbacks.first_step"
            finished = train(
                [
                    *settings.optlab("mnist"),
                    "callbacks=none",
                    "logger=none",
                    "trainer.max_steps=1",
                    f"{callback}._target_=benchmarks.first_step.FirstStep",
                    quote_override(f"{callback}.path", mark),
                    quote_override("outputs", folder / str(repeat)),
                ],
            )
            return float(mark.read_text()) - finished.started_s

        def usual_first_step(repeat: int) -> float:
            mark = folder / f"usual-{repeat}"
            finished = usual(settings, 0, 1, folder / "usual", f"--first-step={mark}")(repeat)
            return float(mark.read_text()) - finished.started_s

        samples = alternate(
            {
                "train.py --help": lambda repeat: train(["--help"]).seconds,
                "train.py --cfg job": lambda repeat: train(_config_job(settings)).seconds,
                "OptLab, launch to first step": own_first_step,
                "usual pipeline, launch to first step": usual_first_step,
            },
            settings.repeats,
        )
    targets = {"train.py --cfg job": CONFIG_TARGET_S}
    quantities = [
        Quantity(name, "s", values, targets.get(name)) for name, values in samples.items()
    ]
    imported = float(_torch_modules_imported(settings))
    quantities.append(Quantity("modules of torch that --cfg job imports", "", [imported], 0.0))
    return f"MLP on {settings.images_title('mnist')}; bytecode and files are cached", quantities


def _config_job(settings: Settings) -> list[str]:
    return [*settings.optlab("mnist"), "--cfg", "job"]


def _torch_modules_imported(settings: Settings) -> int:
    command = [sys.executable, "-X", "importtime", str(TRAIN)]
    output = run_program([*command, *_config_job(settings)]).output
    modules = [line.rpartition("|")[2].strip() for line in output.splitlines() if "|" in line]
    return sum(module.split(".")[0] == "torch" for module in modules)


def _sweep(settings: Settings) -> Measured:
    optimizers = "sgd,adam" if settings.quick else SWEEP_OPTIMIZERS
    overrides = ["-m", *settings.optlab("mnist"), f"optimizer={optimizers}"]
    if settings.quick:
        overrides.append("trainer.max_epochs=1")
    with tempfile.TemporaryDirectory() as temporary:

        def sweep(name: str, *further: str) -> Callable[[int], float]:
            def measure(repeat: int) -> float:
                outputs = Path(temporary) / name / str(repeat)
                return train([*overrides, *further, quote_override("outputs", outputs)]).seconds

            return measure

        contenders = {"side by side": sweep("parallel")}
        if settings.device == "cpu":
            contenders["one after the other"] = sweep("serial", "hydra.launcher.num_processes=1")
        else:  # runs take turns on a GPU unless num_processes is set
            shared = f"hydra.launcher.num_processes={optimizers.count(',') + 1}"
            contenders = {
                "whole command": sweep("whole"),
                "whole command, graphs, all at a time": sweep("shared", GRAPHS, shared),
            }
        samples = alternate(contenders, settings.repeats, warm_up=False)
    target = SWEEP_TARGET_CUDA_S if settings.device == "cuda" else None
    quantities = [Quantity(name, "s", values, target) for name, values in samples.items()]
    if "one after the other" in samples:
        quantities.append(_ratio(samples, "side by side", "one after the other", SWEEP_TARGET))
    conditions = (
        f"{optimizers.count(',') + 1} optimizers, MLP on {settings.images_title('mnist')}, "
        f"{1 if settings.quick else 10} epoch(s), figures, TensorBoard and report included"
    )
    return conditions, quantities


# --- what needs a GPU to make sense --------------------------------------------------------------


def _replicas(settings: Settings) -> Measured:
    counts = (1, 2) if settings.quick else REPLICA_COUNTS
    samples = in_process(
        measure="replicas",
        overrides=[*settings.optlab("mnist"), *([GRAPHS] if settings.device == "cuda" else [])],
        counts=counts,
        epochs=10 if settings.device == "cuda" else 2,
        threads=settings.threads,
        repeats=settings.repeats,
    )
    quantities = [
        Quantity(f"{count} replica(s), an epoch", "s", values) for count, values in samples.items()
    ]
    quantities += [
        Quantity(
            f"{count} replicas / 1",
            RATIO,
            paired_ratios(samples[str(count)], samples["1"]),
            REPLICAS_TARGET if count == 16 else None,
        )
        for count in counts[1:]
    ]
    conditions = f"MLP on {settings.images_title('mnist')}, training only, all replicas together"
    return conditions, quantities


def _speedrun(settings: Settings) -> Measured:
    overrides = ["experiment=cifar10_speedrun", *settings.optlab("cifar10")]
    if settings.quick:
        overrides.append("trainer.max_epochs=1")
    seconds, found, reached_s = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(settings.repeats):
            outputs = Path(temporary) / str(seed)
            run = [*overrides, f"seed={seed}", quote_override("outputs", outputs)]
            seconds.append(train(run).seconds)
            found.append(only_record(outputs))
            reached_s += _seconds_to(SPEEDRUN_ACCURACY, outputs)
    accuracies = [record.metric("test", "last") or 0.0 for record in found]
    quantities = [
        Quantity("whole command", "s", seconds),
        Quantity("training", "s", [record.train_time_s or 0.0 for record in found]),
        Quantity("test accuracy", "%", [100 * value for value in accuracies]),
    ]
    if reached_s:
        label = f"training until validation {SPEEDRUN_ACCURACY:.0%}"
        if len(reached_s) < len(found):
            label += f", reached by {len(reached_s)} of {len(found)} seeds"
        quantities.append(Quantity(label, "s", reached_s))
    conditions = (
        f"{settings.images_title('cifar10')}, a seed each repeat; the whole command includes "
        "start-up and compiling, which later seeds find in a cache"
    )
    return conditions, quantities


def _seconds_to(accuracy: float, outputs: Path) -> list[float]:
    """Return the training seconds at the first epoch of that accuracy; empty if never reached."""
    (epochs,) = outputs.rglob("epochs.csv")
    with epochs.open(newline="") as file:
        for row in csv.DictReader(file):
            if float(row["val/accuracy"]) >= accuracy:
                return [float(row["train_time_s"])]
    return []


def _ratio(
    samples: Mapping[str, list[float]],
    numerator: str,
    denominator: str,
    target: float | None = None,
) -> Quantity:
    values = paired_ratios(samples[numerator], samples[denominator])
    return Quantity(f"{numerator} / {denominator}", RATIO, values, target)


LINES: dict[str, tuple[str, Callable[[Settings], Measured]]] = {
    **{
        f"epoch-{name}": (f"Epoch of the {problem.title}", _epoch(name))
        for name, problem in PROBLEMS.items()
    },
    "loader": ("The data pipeline only", _loader),
    "process": ("A whole run of the MNIST MLP", _process),
    "sweep": ("The study of five optimizers", _sweep),
    "startup": ("Start-up", _startup),
    "replicas": ("Replicas: many seeds in one program", _replicas),
    "speedrun": ("CIFAR-10 speed run", _speedrun),
}
# ResNet18, replicas and the speed run take hours on a CPU: there they have to be asked for.
ON_CPU = tuple(
    name for name in LINES if name not in ("epoch-cifar10-resnet18", "replicas", "speedrun")
)


def default_lines(device: str) -> tuple[str, ...]:
    """Return the lines that are measured if none are named."""
    return ON_CPU if device == "cpu" else tuple(LINES)
