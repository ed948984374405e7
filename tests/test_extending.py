"""docs/extending.md: its files run and have an effect, its code is theirs, its commands compose."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from optlab.training.build import build_data, build_module, build_net
from optlab.training.option_names import to_hydra_override
from optlab.training.validate import validate_config

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "extending"
PAGE = (ROOT / "docs" / "extending.md").read_text()
COMMANDS = re.findall(r"^\$ python train\.py (.*)$", PAGE, re.MULTILINE)
CONFIG_DIR = "docs/extending/conf"
SEARCH_PATH = f"hydra.searchpath=[file://{ROOT / CONFIG_DIR}]"
SHORT = (SEARCH_PATH, "trainer.max_epochs=1", "+trainer.limit_train_batches=8")


@pytest.fixture(autouse=True)
def examples_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def train_short(train: Callable[..., Any]) -> Callable[..., Any]:
    """Train eight batches, and check what each run has: finished, eight steps, an accuracy."""

    def trained(*overrides: str) -> Any:
        run = train(*SHORT, *overrides)
        record = run.record
        assert record["status"] == "finished"
        assert len(run.steps) == record["num_steps"] == 8
        assert run.steps["train/loss"].notna().all()
        for weights in ("best", "last"):
            assert 0 <= record["test"][weights]["accuracy"] <= 1
        return run

    return trained


def has_code_of(record: dict[str, Any], *modules: str) -> bool:
    """Whether the record has a fingerprint of just these modules of the user."""
    return sorted(record["own_code"]) == sorted(modules) and all(record["own_code"].values())


# --- the examples ----------------------------------------------------------------------------


def test_optimizer(train_short: Callable[..., Any]) -> None:
    run = train_short("optimizer=my_lion")
    record = run.record
    assert record["optimizer"] == {"name": "my_lion", "target": "my_optimizer.Lion", "lr": 3e-4}
    assert record["config"]["optimizer"]["betas"] == [0.9, 0.99]
    assert has_code_of(record, "my_optimizer")
    states = torch.load(run.folder / "checkpoints" / "last.ckpt")["optimizer_states"]
    assert all("momentum" in state for state in states[0]["state"].values())


def test_lion_first_step_is_the_sign_of_the_gradient_and_decays_decoupled() -> None:
    from my_optimizer import Lion

    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Lion([weight], lr=0.1, weight_decay=0.5)

    def closure() -> torch.Tensor:
        loss = (weight * torch.tensor([3.0, -0.2])).sum()
        loss.backward()
        return loss.detach()

    assert optimizer.step(closure).item() == pytest.approx(3.4)
    # w (1 - lr * decay) - lr * sign(gradient): 0.95 - 0.1 and -1.9 + 0.1
    np.testing.assert_allclose(weight.detach(), [0.85, -1.8], rtol=1e-6)
    np.testing.assert_allclose(optimizer.state[weight]["momentum"], [0.03, -0.002], rtol=1e-5)


def test_lion_by_hand_takes_the_steps_of_the_library(train_short: Callable[..., Any]) -> None:
    by_hand = train_short("optimizer=my_lion", "optimizer.weight_decay=0.1")
    of_library = train_short("optimizer=lion", "optimizer.weight_decay=0.1", "optimizer.lr=3.0e-4")
    np.testing.assert_allclose(by_hand.steps["train/loss"], of_library.steps["train/loss"], 1e-4)


def test_users_optimizer_is_a_base_of_sam(train_short: Callable[..., Any]) -> None:
    run = train_short("optimizer=sam", "optimizer@optimizer.base=my_lion")
    plain = train_short("optimizer=my_lion")
    assert run.record["config"]["optimizer"]["base"]["_target_"] == "my_optimizer.Lion"
    assert run.record["optimizer"]["lr"] == 3e-4  # the base's
    assert run.steps["train/loss"][0] == plain.steps["train/loss"][0]  # before the first move
    assert run.steps["train/loss"][1] != plain.steps["train/loss"][1]
    assert has_code_of(run.record, "my_optimizer")


def test_network(train_short: Callable[..., Any]) -> None:
    record = train_short("model=tiny").record
    assert record["model"]["target"] == "my_model.TinyConvNet"
    assert record["model"]["kwargs"]["width"] == 16
    # 160 and 4,640 of the convolutions, 512 * 10 + 10 of the linear layer
    assert record["model"]["num_parameters"] == 9930
    assert has_code_of(record, "my_model")


def test_module_with_parts_of_the_run(train_short: Callable[..., Any]) -> None:
    run, plain = train_short("module=mixup"), train_short()
    assert run.record["config"]["module"] == {"_target_": "my_mixup.MixUp", "alpha": 0.2}
    assert run.record["optimizer"]["name"] == "adam"
    assert has_code_of(run.record, "my_mixup")
    assert run.epochs["train/accuracy"].isna().all()  # it returns no logits
    assert run.steps["train/loss"].mean() > plain.steps["train/loss"].mean()


def test_module_with_a_network_and_an_optimizer_of_its_own(train_short: Callable[..., Any]) -> None:
    run = train_short("experiment=auxiliary_head", "logger=json_lines")
    record = run.record
    assert record["study"] == "digits-auxiliary_head" and record["run_name"] == "adam-seed0"
    assert record["model"]["target"] == "my_module.AuxiliaryHead"
    # 160 and 4,640 of the convolutions, 512 * 10 + 10 and 256 * 10 + 10 of the two heads
    assert record["model"]["num_parameters"] == 12_500
    assert record["optimizer"] == {"name": "adam", "target": "torch.optim.adam.Adam", "lr": 3e-3}
    assert has_code_of(record, "my_module")  # a logger changes no number
    assert set(run.steps["lr"]) == {3e-3}
    state = torch.load(run.folder / "checkpoints" / "best.ckpt")["state_dict"]
    assert any(name.startswith("auxiliary.") for name in state)


def test_module_without_names_in_the_config_is_named_by_its_classes(
    train_short: Callable[..., Any],
) -> None:
    record = train_short("module=auxiliary_head", "~model", "~optimizer").record
    assert record["study"] == "digits-own" and record["run_name"] == "own-seed0"
    assert record["model"]["name"] == "AuxiliaryHead"
    assert record["optimizer"]["name"] == "Adam"


@pytest.mark.parametrize("group", ["model", "optimizer", "scheduler"])
def test_part_that_the_module_does_not_take_is_refused(
    make_config: Callable[..., Any], group: str
) -> None:
    others = [f"~{other}" for other in ("model", "optimizer") if other != group]
    chosen = ["scheduler=cosine"] if group == "scheduler" else []
    config = make_config(SEARCH_PATH, "module=auxiliary_head", *others, *chosen)
    data = build_data(config)
    with pytest.raises(ValueError, match=rf"my_module\.AuxiliaryHead .*{group}=(?s:.*)hint: "):
        build_module(config, build_net(config, data), data)


def test_data_module(train_short: Callable[..., Any]) -> None:
    run = train_short("data=small_digits")
    record = run.record
    assert record["config"]["data"]["_target_"] == "my_data.SmallDigits"
    assert record["dataset"]["title"] == record["dataset"]["name"] == "small_digits"
    assert record["dataset"]["image_size"] == 8 and record["dataset"]["checksum"] is None
    assert record["train"] is None  # it has no train_eval_dataloader
    assert np.sum(record["confusion_matrix"]) == 359
    assert has_code_of(record, "my_data")


def test_shuffled_data_loader_repeats_for_a_seed_and_differs_between_seeds(
    train_short: Callable[..., Any],
) -> None:
    first = train_short("data=small_digits").steps
    again = train_short("data=small_digits", "rerun=true").steps
    workers = train_short("data=small_digits", "data.num_workers=1").steps
    other = train_short("data=small_digits", "seed=1").steps
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    pd.testing.assert_frame_equal(first, workers, check_exact=True)
    assert not first["train/loss"].equals(other["train/loss"])


def test_resumed_run_with_a_shuffled_data_loader_equals_an_uninterrupted_one(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import my_callback

    run = ("data=small_digits", SEARCH_PATH, "trainer.max_epochs=3")
    watched = (*run, "+callbacks.gradient_norm._target_=my_callback.GradientNorm")

    def stop(self: Any, trainer: Any, *_: Any) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(my_callback.GradientNorm, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            train(*watched)
    resumed = train(*watched).steps
    whole = train(*watched, "rerun=true").steps  # in the same folder
    assert len(whole) == 3 * 19
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


@pytest.mark.parametrize("name", ["num_classes", "in_channels", "image_size"])
def test_data_module_without_a_shape_is_refused(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import my_data

    monkeypatch.delattr(my_data.SmallDigits, name)
    config = make_config(SEARCH_PATH, "data=small_digits")
    with pytest.raises(ValueError, match=rf"SmallDigits .*{name}(?s:.*)hint: "):
        build_data(config)


def test_data_module_without_a_test_part_is_refused(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import my_data

    monkeypatch.delattr(my_data.SmallDigits, "test_dataloader")
    with pytest.raises(ValueError, match=r"SmallDigits .*test_dataloader"):
        build_data(make_config(SEARCH_PATH, "data=small_digits"))


def test_callback_and_logger(train_short: Callable[..., Any]) -> None:
    run = train_short(
        "+callbacks.gradient_norm._target_=my_callback.GradientNorm",
        "logger=[csv,json_lines]",
        "trainer.log_every_n_steps=1",
    )
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    norms = [row["train/gradient_norm"] for row in rows if "train/gradient_norm" in row]
    assert len(norms) == 8 and all(0 < norm < 100 for norm in norms)
    losses = {row["step"]: row["train/loss_step"] for row in rows if "train/loss_step" in row}
    assert losses == dict(zip(run.steps["step"], run.steps["train/loss"], strict=True))
    assert any(row.get("hyperparameters", {}).get("optimizer") == "adam" for row in rows)
    assert any("with_best_weights/test_accuracy" in row for row in rows)
    (metrics,) = run.folder.glob("lightning_csv/*/metrics.csv")
    assert "train/gradient_norm" in pd.read_csv(metrics).columns
    assert has_code_of(run.record, "my_callback")


def test_scheduler(train_short: Callable[..., Any]) -> None:
    run = train_short("scheduler=triangular", "scheduler.lowest=0.2")
    # eight steps in two cycles: from 0.2 in quarters of 0.8 * 2 up to 1 and down
    expected = np.array([0.2, 0.6, 1, 0.6, 0.2, 0.6, 1, 0.6]) * 1e-3
    np.testing.assert_allclose(run.steps["lr"], expected)
    assert run.record["config"]["scheduler"]["_target_"] == "my_scheduler.triangular"
    assert has_code_of(run.record, "my_scheduler")


def test_optimizer_without_learning_rate(
    train_short: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import my_optimizer

    class SignDescent(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})

        def step(self, closure: Any) -> Any:  # type: ignore[override]
            loss = closure()
            for weight in self.param_groups[0]["params"]:
                weight.data.add_(weight.grad.sign(), alpha=-1e-3)
            return loss

    monkeypatch.setattr(my_optimizer, "SignDescent", SignDescent, raising=False)
    run = train_short(
        "~optimizer",
        "+optimizer={name: sign, _target_: my_optimizer.SignDescent, _partial_: true}",
        "logger=json_lines",
    )
    assert run.record["optimizer"]["lr"] is None
    assert run.steps["lr"].isna().all()


# --- parts of torch and Lightning by config only -----------------------------------------------


def test_schedulers_of_torch(train_short: Callable[..., Any]) -> None:
    halving = train_short(
        "scheduler._target_=torch.optim.lr_scheduler.StepLR",
        "scheduler.name=halving",
        "+scheduler.step_size=3",
        "+scheduler.gamma=0.5",
    )
    np.testing.assert_allclose(
        halving.steps["lr"], np.array([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]) * 1e-3
    )
    onecycle = train_short(
        "scheduler._target_=torch.optim.lr_scheduler.OneCycleLR",
        "scheduler.name=torch_onecycle",
        "+scheduler.max_lr=0.01",
    )
    # total_steps is passed: it starts at max_lr / 25 and ends at that / 10,000
    np.testing.assert_allclose(onecycle.steps["lr"].iloc[[0, -1]], [4e-4, 4e-8])


def test_average_of_weights(train_short: Callable[..., Any]) -> None:
    ema = "+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging"
    run, plain = train_short(ema, "+callbacks.ema.decay=0.9"), train_short()
    pd.testing.assert_frame_equal(run.steps, plain.steps, check_exact=True)  # the same training
    assert run.epochs["val/loss"].item() != plain.epochs["val/loss"].item()  # other weights


def test_stochastic_weight_averaging_moves_the_learning_rate(train: Callable[..., Any]) -> None:
    run = train(
        "trainer.max_epochs=3",
        "+trainer.limit_train_batches=8",
        "+callbacks.swa._target_=lightning.pytorch.callbacks.StochasticWeightAveraging",
        "+callbacks.swa.swa_lrs=0.01",
        "+callbacks.swa.swa_epoch_start=1",
        "+callbacks.swa.annealing_epochs=1",
    )
    assert run.record["status"] == "finished"
    assert run.steps["lr"].iloc[0] == 1e-3 and run.steps["lr"].iloc[-1] == pytest.approx(0.01)


def test_learning_rate_monitor(train_short: Callable[..., Any]) -> None:
    run = train_short(
        "+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor",
        "logger=json_lines",
        "scheduler=cosine",
        "trainer.log_every_n_steps=1",
    )
    assert '"lr-Adam' in (run.folder / "metrics.jsonl").read_text()


def test_second_checkpoint_and_accumulation_from_a_file(train: Callable[..., Any]) -> None:
    run = train(
        SEARCH_PATH,
        "callbacks=[none,keep_all,accumulate]",
        "++callbacks.accumulate.scheduling={1:2}",
        "trainer.max_epochs=2",
        "+trainer.limit_train_batches=8",
    )
    files = sorted(path.name for path in (run.folder / "checkpoints").glob("*.ckpt"))
    assert files == ["best.ckpt", "epoch0.ckpt", "epoch1.ckpt", "last.ckpt"]
    assert run.epochs["step"].tolist() == [8, 12]  # of two batches each in the second epoch


# --- the page --------------------------------------------------------------------------------


def shown_files() -> dict[str, str]:
    """Code blocks of the page by the file that their caption names."""
    blocks = re.findall(r"^`([\w/.]+)`:\n\n```(?:python|yaml)\n(.*?)```", PAGE, re.M | re.S)
    return dict(blocks)


def test_page_shows_every_example_as_it_is() -> None:
    files = {
        path.relative_to(EXAMPLES).as_posix(): path.read_text()
        for path in sorted(EXAMPLES.rglob("*.*"))
        if path.suffix in (".py", ".yaml")
    }
    assert len(files) > 15
    assert shown_files() == files
    assert PAGE.count("```python") + PAGE.count("```yaml") == len(files)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_is_a_valid_run(make_config: Callable[..., Any], command: str) -> None:
    arguments = [to_hydra_override(each) for each in shlex.split(command)]
    if arguments[0] == "--config-dir":
        assert arguments.pop(0) and arguments.pop(0) == CONFIG_DIR
        arguments.insert(0, SEARCH_PATH)
    if "-m" in arguments:
        arguments.remove("-m")
        arguments = [_first_choice(each) for each in arguments]
    validate_config(make_config(*arguments))


def _first_choice(argument: str) -> str:
    (override,) = OverridesParser.create().parse_overrides([argument])
    if not override.is_sweep_override():
        return argument
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def test_page_has_commands() -> None:
    assert len(COMMANDS) > 20
    (longest,) = [command for command in COMMANDS if "model=tiny module=mixup" in command]
    assert "module=mixup" in longest
