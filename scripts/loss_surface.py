"""Draw the paths of a study's optimizers over the training loss of their network.

python train.py -m optimizer=sgd,adam,rmsprop,adagrad,adamw callbacks=snapshots study=paths
python scripts/loss_surface.py outputs/paths

Writes report/loss_surface.png and, with --animate, report/loss_surface.gif. It draws the runs of
one seed: all begin at the same weights.
"""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study_dir", type=Path, help="folder of a study: outputs/paths")
    parser.add_argument("--seed", type=int, help="of the runs; the first one by default")
    parser.add_argument("--images", type=int, default=2000, help="training images (%(default)s)")
    parser.add_argument("--points", type=int, default=31, help="of the grid's side (%(default)s)")
    parser.add_argument("--animate", action="store_true", help="also write a GIF")
    options = parser.parse_args(arguments)
    if options.images < 1 or options.points < 2:
        parser.error("--images must be at least 1, --points at least 2")

    import torch
    from rich.progress import track

    from optlab.analysis import read_study
    from optlab.data.run_datamodule import load_run_datamodule
    from optlab.models.load import load_network
    from optlab.plots.loss_surface import LossSurfaceDisplay
    from optlab.training.loss_surface import loss_surface, read_snapshots

    try:
        workloads = read_study(options.study_dir).workloads
        if len(workloads) != 1:
            raise ValueError(
                f"{options.study_dir} has {len(workloads)} workloads, but paths on one surface "
                "need one network and one data set.\n\nhint: give each a study of its own"
            )
        runs = {}
        for one in workloads[0].configurations:
            of_seed = [run for run in one.finished if options.seed in (None, run.seed)]
            if of_seed:
                runs[one.label] = of_seed[0]
        if not runs:
            raise ValueError(
                f"{options.study_dir} has no finished run of that seed.\n\n"
                "hint: leave --seed out, or train the study to its end first"
            )
        first = next(iter(runs.values()))
        net = load_network(first.folder, "last")
        snapshots = {label: read_snapshots(run.folder, net) for label, run in runs.items()}
        datamodule = load_run_datamodule(first.folder, first.record)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    batches = list(datamodule.train_eval_dataloader(max_images=options.images))
    surface = loss_surface(
        net,
        snapshots,
        torch.cat([images for images, _ in batches]),
        torch.cat([labels for _, labels in batches]),
        num_points=options.points,
        progress=lambda rows: track(rows, "loss on the plane", transient=True),
    )
    display = LossSurfaceDisplay(
        x=surface.x,
        y=surface.y,
        losses=surface.losses,
        paths={label: (path.steps, path.points) for label, path in surface.paths.items()},
        optimizers={label: run.optimizer for label, run in runs.items()},
        explained=surface.explained,
    ).plot()
    print(display.save(options.study_dir / "report" / "loss_surface.png"))
    if options.animate:
        print(display.save_animation(options.study_dir / "report" / "loss_surface.gif"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
