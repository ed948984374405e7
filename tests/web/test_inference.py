"""Networks that are asked: probabilities, the ensemble, saliency, and those that cannot answer."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_records import make_record
from torch import nn

from optlab.analysis import Run
from optlab.models import load_network
from optlab.runs.record import DatasetFacts
from optlab.web import inference
from optlab.web.inference import NO_SNAPSHOTS, Networks, ask
from optlab.web.run_index import Input, Model, RunIndex

MakeRun = Callable[..., Path]
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28), np.uint8)


def models_of(outputs: Path) -> dict[str, list[Model]]:
    (study,) = RunIndex(outputs).table().studies.values()
    return {name: list(models) for name, models in study.answering.items()}


def test_ensemble_counts_every_optimizer_the_same(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(3):
        make_run(optimizer="adam", seed=seed)
    make_run(optimizer="sgd")
    answer = ask(Networks(), models_of(tmp_path), PICTURE)
    assert answer is not None
    adam, sgd = answer.optimizers
    assert (len(adam.models), len(sgd.models)) == (3, 1)
    mean = np.mean([model.probabilities for model in adam.models], axis=0)
    np.testing.assert_allclose(adam.probabilities, mean)
    np.testing.assert_allclose(answer.probabilities, (mean + sgd.probabilities) / 2)
    assert answer.probabilities.sum() == pytest.approx(1)
    assert answer.saliency is None


def test_probabilities_are_those_of_the_network_on_normalized_pixels(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run()
    (model,) = models_of(tmp_path)["adam"]
    answer = ask(Networks(), {"adam": [model]}, PICTURE)
    dataset = model.run.record.dataset
    images = (torch.from_numpy(PICTURE) / 255 - dataset.mean[0]) / dataset.std[0]
    expected = load_network(folder)(images).softmax(dim=1)[0].detach()
    assert answer is not None
    np.testing.assert_allclose(answer.probabilities[0], expected, rtol=1e-5)


def test_saliency_is_the_gradient_of_the_top_logit() -> None:
    class OnePixel(nn.Module):
        """Looks only at pixel (3, 5), and half as much at (7, 2)."""

        def __init__(self) -> None:
            super().__init__()
            weight = torch.zeros(10, 28, 28)
            weight[4, 3, 5], weight[4, 7, 2] = 2.0, -1.0
            self.weight = nn.Parameter(weight.reshape(10, -1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bias = torch.eye(10)[4] * 9
            return images.flatten(1) @ self.weight.T + bias

    expected = np.zeros((28, 28))
    expected[3, 5], expected[7, 2] = 1.0, 0.5
    networks = Networks(load=lambda *_: OnePixel())
    answer = ask(networks, {"adam": [fake_model()]}, PICTURE, with_saliency=True)
    assert answer is not None
    np.testing.assert_allclose(answer.saliency, expected, atol=1e-6)


def fake_model(model_id: str = "a", folder: Path = Path("a")) -> Model:
    dataset = DatasetFacts(
        name="digits",
        class_names=list("0123456789"),
        in_channels=1,
        image_size=28,
        preparation="digits",
        mean=[0.0],
        std=[1.0],
    )
    run = Run(folder, make_record(dataset=dataset))
    return Model(model_id, run, Input.of(run))


def network_of(num_classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes))


def test_network_is_loaded_once_even_when_many_ask_at_once(tmp_path: Path) -> None:
    loads = []

    def load(folder: Path, _: str | int) -> nn.Module:
        loads.append(folder)
        return network_of()

    networks, model = Networks(load=load), fake_model(folder=tmp_path)
    threads = [threading.Thread(target=networks.get, args=(model,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    (tmp_path / "record.json").touch()  # trained again
    networks.get(model)
    assert len(loads) == 2


@pytest.fixture
def room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MAX_CACHED_PARAMETERS", 2 * 7850)  # 784 * 10 + 10 each


@pytest.mark.usefixtures("room_for_two")
def test_oldest_network_makes_room() -> None:
    loads = []

    def load(folder: Path, _: str | int) -> nn.Module:
        loads.append(folder.name)
        return network_of()

    networks = Networks(load=load)
    for model_id in ("a", "b", "a", "c", "a", "b"):
        networks.get(fake_model(model_id, Path(model_id)))
    assert loads == ["a", "b", "c", "b"]


@pytest.mark.usefixtures("room_for_two")
def test_moments_of_training_share_the_room_and_are_loaded_once(tmp_path: Path) -> None:
    loads = []

    def load(_: Path, weights: str | int) -> nn.Module:
        loads.append(weights)
        return network_of()

    (tmp_path / "snapshots").mkdir()
    for step in (0, 10, 300):
        (tmp_path / "snapshots" / f"step-{step:06d}.pt").touch()
    networks, model = Networks(load=load), fake_model(folder=tmp_path)
    for step in (None, 12, 10, None, 299, 10**9, 0, None):
        networks.get(model, step)
    assert loads == ["best", 10, 300, 0, "best"]
    assert networks.get(fake_model("b"), 10) == NO_SNAPSHOTS


def test_run_that_cannot_be_used_says_why_and_the_others_answer(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(optimizer="adam")
    broken = make_run(optimizer="sgd")
    (broken / "checkpoints" / "best.ckpt").write_bytes(b"junk")
    networks, models = Networks(), models_of(tmp_path)
    answer = ask(networks, models, PICTURE)
    assert answer is not None
    assert [said.optimizer for said in answer.optimizers] == ["adam"]
    problem = networks.problem(models["sgd"][0])
    assert re.search(r"\bweights\b.*\blog\b", str(problem))
    assert re.search(r"sgd\S*best\.ckpt .*\bdamaged\b(?s:.*)rerun=true", caplog.text)
    assert "Traceback" not in caplog.text  # the message is enough
    assert networks.problem(models["adam"][0]) is None
    assert ask(networks, {"sgd": models["sgd"]}, PICTURE, with_saliency=True) is None


def test_run_whose_weights_arrive_after_its_record_answers_from_then_on(
    make_run: MakeRun, tmp_path: Path
) -> None:
    weights = make_run() / "checkpoints" / "best.ckpt"
    weights.rename(tmp_path / "on its way")
    networks, models = Networks(), models_of(tmp_path)
    assert ask(networks, models, PICTURE) is None
    (tmp_path / "on its way").rename(weights)
    assert ask(networks, models, PICTURE) is not None


def test_network_with_other_classes_or_weights_of_nan_is_not_asked() -> None:
    assert "10 classes" in str(Networks(load=lambda *_: network_of(7)).get(fake_model()))
    broken = network_of()
    nn.init.constant_(broken[1].bias, float("nan"))  # type: ignore[index]
    assert "finite" in str(Networks(load=lambda *_: broken).get(fake_model()))


def test_network_whose_answer_to_the_picture_is_not_finite_keeps_silent() -> None:
    class Loud(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = super().forward(images)
            return answer / (images.amax() <= 0)  # infinite for all but the probe

    networks = Networks(load=lambda *_: Loud(nn.Flatten(), nn.Linear(784, 10)))
    assert ask(networks, {"adam": [fake_model()]}, PICTURE) is None
