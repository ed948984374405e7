"""Callbacks that OptLab adds to a run."""

import pytest
import torch

from optlab.training import build
from optlab.training.callbacks import CheckClosureFirst
from optlab.training.classifier import ImageClassifier


class MovesFirst(torch.optim.SGD):
    """Moves by the gradients that it finds, and again by those that its closure makes."""

    def step(self, closure):
        super().step()
        return super().step(closure)


class OwnOptimizer(ImageClassifier):
    """Brings its optimizer, which no config names."""

    def __init__(self, net, num_classes):
        super().__init__(net, None, num_classes=num_classes)

    def configure_optimizers(self):
        return MovesFirst(self.parameters(), lr=0.1)


@pytest.mark.parametrize("batches_per_step", [1, 4])
@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_optimizer_of_a_module_that_moves_weights_before_its_closure_is_refused(
    loop, batches_per_step, train
):
    with pytest.raises(ValueError, match="MovesFirst") as refused:
        train(
            *(loop, f"trainer.accumulate_grad_batches={batches_per_step}", "trainer.max_steps=5"),
            *(f"module._target_={__name__}.OwnOptimizer", "~optimizer"),
            *("~module.label_smoothing", "~module.decay_norm_and_bias"),
        )
    assert "closure" in str(refused.value)


def test_runs_of_known_optimizers_are_spared_the_check(make_config):
    for target, is_checked in (("torch.optim.SGD", False), (f"{__name__}.MovesFirst", True)):
        config = make_config("optimizer=sgd_plain", f"optimizer._target_={target}")
        callbacks = build.build_callbacks(config, ImageClassifier(None, None, num_classes=2))
        assert any(isinstance(each, CheckClosureFirst) for each in callbacks) is is_checked
