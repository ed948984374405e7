"""Callbacks that OptLab adds to every run."""

import pytest
import torch

MINE = "my_sam_kinds"
SOURCE = '''
import torch


class SAM(torch.optim.SGD):
    """Sharpness-aware minimization whose gradients are to exist when `step` is called."""

    closure_first = False

    @torch.no_grad()
    def step(self, closure):
        if self.closure_first:
            with torch.enable_grad():
                closure()
        moves = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    move = 0.05 * weight.grad / (weight.grad.norm() + 1e-12)
                    weight.add_(move)
                    moves.append((weight, move))
        with torch.enable_grad():
            loss = closure()
        for weight, move in moves:
            weight.sub_(move)
        super().step()
        return loss


class ClosureFirstSAM(SAM):
    closure_first = True
'''


@pytest.fixture
def sam(tmp_path, monkeypatch):
    """Gives the overrides that choose a class of SOURCE."""
    (tmp_path / f"{MINE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: (
        "optimizer=sgd_plain",
        f"optimizer._target_={MINE}.{name}",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=6",
    )


@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_optimizer_that_moves_weights_before_its_closure_is_refused(loop, sam, train):
    with pytest.raises(ValueError, match="SAM") as error:
        train(*sam("SAM"), loop)
    assert "closure" in str(error.value)


def test_two_pass_optimizer_that_calls_its_closure_first_trains(sam, train, make_config):
    """The losses are those of the first evaluation, at the unperturbed weights."""
    from optlab.training import build

    overrides = sam("ClosureFirstSAM")
    trained = train(*overrides)
    config = make_config(*overrides)
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    optimizer = build.build_module(config, net, datamodule).make_optimizer(net.parameters())
    losses = []
    for (images, labels), _ in zip(datamodule.train_dataloader(), range(6), strict=False):
        own = []

        def closure(images=images, labels=labels, own=own):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            own.append(loss.item())
            return loss

        optimizer.step(closure)
        losses.append(own[0])
    assert list(trained.steps["train/loss"]) == losses
