"""Draw each optimizer's training loss while its learning rate rises from step to step.

python scripts/lr_range.py optimizer=sgd,adam,adamw
python scripts/lr_range.py optimizer=sgd,adam model=cnn data=mnist --steps 200 --max-lr 1

All begin at the same weights and see the same batches. It is a quick look at where training works
and where it breaks, and no verdict: the loss at a learning rate depends on the steps before it. To
compare optimizers, tune them all (hydra/sweeper=fair). Writes lr_range.png and lr_range.csv.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="+", help="of train.py; values after commas are swept")
    parser.add_argument(
        "--min-lr", type=float, default=1e-5, help="of the first step (%(default)s)"
    )
    parser.add_argument("--max-lr", type=float, default=10.0, help="of the last step (%(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps (%(default)s)")
    parser.add_argument(
        "--to", type=Path, default=Path("outputs/lr_range"), help="folder (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.min_lr < options.max_lr or options.steps < 10:
        parser.error("--min-lr must be above 0 and below --max-lr, --steps at least 10")

    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from optlab.training.option_names import to_hydra_override
    from optlab.training.suggestions import explain_overrides

    found = {}
    try:
        typed = list(map(to_hydra_override, options.overrides))
        if problems := explain_overrides(typed, ROOT / "conf"):
            raise ValueError(problems)
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            configs = {
                label: compose("train", overrides=["callbacks=none", "logger=none", *overrides])
                for label, overrides in combinations(typed)
            }

        from optlab.training.lr_range import lr_range  # torch

        for label, config in configs.items():
            print(f"{label} ...", flush=True)
            found[label] = lr_range(config, options.min_lr, options.max_lr, options.steps)
    except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    import pandas as pd

    from optlab.plots.sensitivity import LRRangeDisplay

    options.to.mkdir(parents=True, exist_ok=True)
    pd.concat(
        pd.DataFrame(
            {
                "run": label,
                "optimizer": each.optimizer,
                "lr": each.learning_rate,
                "train_loss": each.loss,
            }
        )
        for label, each in found.items()
    ).to_csv(options.to / "lr_range.csv", index=False)
    display = LRRangeDisplay(
        curves={label: (each.learning_rate, each.loss) for label, each in found.items()},
        optimizers={label: each.optimizer for label, each in found.items()},
    )
    print(display.plot().save(options.to / "lr_range.png"))
    return 0


def combinations(overrides: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield a label and plain overrides for each combination of swept values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from optlab.training.option_names import BASE, BASE_GROUP

    parsed = OverridesParser.create().parse_overrides(overrides)
    swept = [each for each in parsed if each.is_sweep_override()]
    fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
    for values in product(*(each.sweep_string_iterator() for each in swept)):
        chosen = [
            f"{each.get_key_element()}={value}" for each, value in zip(swept, values, strict=True)
        ]
        label = " · ".join(each.replace(f"{BASE_GROUP}=", f"{BASE}=") for each in chosen)
        yield label.replace("optimizer=", "") or "run", [*fixed, *chosen]


if __name__ == "__main__":
    sys.exit(main())
