"""What is trained: networks and images of the benchmark, as overrides of OptLab's own config.

No torch here: the process that starts the measurements stays small.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from optlab.data.availability import mnist_on_disk
from optlab.training.commands import quote_override

QUICK_IMAGES = 640  # training images of a smoke test; nothing that is measured on them means much


@dataclass(frozen=True)
class Problem:
    """A network on images of one shape."""

    title: str
    images: str  # "mnist" or "cifar10": their shape, and the set where it is on disk
    overrides: tuple[str, ...]
    epochs: int  # per measurement: long enough to be measured, short enough to be repeated


PROBLEMS = {
    "mnist-mlp": Problem("MNIST MLP", "mnist", ("model=mlp",), epochs=2),
    "mnist-cnn": Problem("MNIST CNN", "mnist", ("model=cnn",), epochs=1),
    # The combined network of the published CIFAR-10 experiments. Keras adds 1e-4 * w**2 to the
    # loss; its gradient is that of a decay of 2e-4.
    "cifar10-mlp": Problem(
        "combined MLP on CIFAR-10",
        "cifar10",
        (
            "model=mlp",
            "model.hidden_sizes=[256,128,64]",
            "model.batch_norm=true",
            "model.dropout=[0.3,0.3,0.2]",
            "model.init=he_normal",
            "optimizer.weight_decay=2.0e-4",
            "module.decay_norm_and_bias=false",
        ),
        epochs=1,
    ),
    "cifar10-resnet18": Problem("ResNet18 on CIFAR-10", "cifar10", ("model=resnet18",), epochs=1),
}


@dataclass(frozen=True)
class Images:
    """Where the images of a shape come from on this machine."""

    title: str
    overrides: tuple[str, ...]
    synthetic: bool = False


def find_images(shape: str, *, cifar_root: Path | None = None, quick: bool = False) -> Images:
    """The set itself where it is on disk, else random pixels of its shape, named so.

    Args:
        shape: "mnist" or "cifar10".
        cifar_root: an image folder with the images of CIFAR-10.
        quick: a few random images, whatever is on disk.
    """
    root = Path(os.environ.get("OPTLAB_DATA", "data")).expanduser()
    if not quick:
        if shape == "mnist" and mnist_on_disk(root):
            return Images("MNIST", ("data=mnist",))
        if shape == "cifar10" and (root / "cifar-10-batches-py").is_dir():
            return Images("CIFAR-10", ("data=cifar10",))
        if shape == "cifar10" and cifar_root is not None:
            folder = str(cifar_root.expanduser().absolute())
            title = f"CIFAR-10 from the image folder {cifar_root.name}"
            return Images(title, ("data=image_folder", quote_override("data.root", folder)))
    few = (f"+data.num_images={QUICK_IMAGES}",) if quick else ()
    target = "data._target_=benchmarks.synthetic.SyntheticImages"
    title = {"mnist": "MNIST", "cifar10": "CIFAR-10"}[shape]
    return Images(f"random pixels in {title}'s shape", (f"data={shape}", target, *few), True)
