import time
from pathlib import Path

import pytest
import torch

from benchmarks import usual_pipeline
from benchmarks.synthetic import synthetic_source

# Lightning advises more workers and a logger; the tutorials' reader sees that as well
pytestmark = pytest.mark.filterwarnings("ignore")


def test_usual_pipeline_trains_validates_and_keeps_a_checkpoint(tmp_path: Path) -> None:
    usual_pipeline.main(["--epochs=2", "--synthetic", "--num-images=90", f"--output={tmp_path}"])
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["epoch"] == 1
    assert state["global_step"] == 4  # 90 images are two batches of 64


def test_first_step_is_marked_and_ends_the_run(tmp_path: Path) -> None:
    mark, before_s = tmp_path / "mark", time.time()
    usual_pipeline.main(
        ["--synthetic", "--num-images=200", f"--output={tmp_path}", f"--first-step={mark}"]
    )
    assert before_s < float(mark.read_text()) < time.time()
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 1


def test_pictures_are_normalized_as_torchvision_does() -> None:
    source = synthetic_source("cifar10", 90)
    image, label = usual_pipeline.pictures_of(source)[7]
    by_hand = (source.train_images[7] / 255 - 0.5) / 0.2887
    assert torch.allclose(image, by_hand, atol=1e-6)
    assert label == source.train_labels[7]
