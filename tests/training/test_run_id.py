"""Which options make another run, and which do not."""

import pytest

from optlab.training.option_values import check_top_level
from optlab.training.run_id import (
    GROUPS,
    NOT_IN_HASH,
    OPTIONS,
    identity,
    replicas,
    run_dir,
    run_folder_name,
    run_hash,
)

NEUTRAL = [
    "outputs=elsewhere",
    "logger=tensorboard",
    "logger=csv",
    "logger=many",
    "~logger",
    "logger=[tensorboard,csv]",
    "callbacks=default",
    "callbacks=figures",
    "callbacks=full",
    "callbacks.progress=null",
    "callbacks.best.dirpath=/elsewhere",
    "+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor",
    "+callbacks.device._target_=lightning.pytorch.callbacks.DeviceStatsMonitor",
    "+callbacks.bar._target_=lightning.pytorch.callbacks.RichProgressBar",
    "scheduler=constant",
    "~scheduler",
    "data.root=/elsewhere",
    "data.eval_batch_size=7",
    "trainer.devices=2",
    "trainer.strategy=ddp",
    "trainer.accelerator=auto",
    "hydra/launcher=basic",
    "run_name=mine",
    "study=mine",
    "title=Mine",
    "rerun=true",
    "plan=true",
    "on_error=stop",
    "num_replicas=3",
    "lean_loop=false",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=true",
    "trainer.enable_model_summary=true",
    "+trainer.profiler=simple",
]
DECISIVE = [
    "seed=1",
    "lr_multiplier=0.1",
    "module.decay_norm_and_bias=false",
    "module.label_smoothing=0.1",
    "+module.mine=1",
    "module._target_=mine.Module",
    "ckpt_path=some.ckpt",
    "compile=true",
    "cuda_graphs=true",
    "channels_last=false",
    "optimizer=sgd",
    "optimizer.lr=0.002",
    "optimizer.betas=[0.8,0.999]",
    "optimizer.fused=false",
    "scheduler=cosine",
    "model=cnn",
    "model.hidden_sizes=[256,64]",
    "model.dropout=0.1",
    "data=mnist",
    "data.batch_size=32",
    "data._target_=optlab.data.Mine",
    "data.split_seed=1",
    "data.val_fraction=0.2",
    "data.train_fraction=0.5",
    "data.augment.crop_padding=2",
    "callbacks=early_stopping",
    "callbacks.best.monitor=val/loss",
    "callbacks.best=null",
    "+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
    "+callbacks.timer._target_=lightning.pytorch.callbacks.Timer",
    "+callbacks.mine._target_=mine.LearningRateMonitor",
    "trainer.max_epochs=3",
    "trainer.max_steps=30",
    "trainer.precision=64-true",
    "num_threads=2",
    "+trainer.limit_train_batches=10",
    "+trainer.fast_dev_run=true",
    "+trainer.unheard_of=1",
    "trainer._target_=mine.Trainer",
    "trainer.use_distributed_sampler=true",
    "data.seed=3",
    "debug=limit",
    "trainer.accumulate_grad_batches=2",
    "trainer.gradient_clip_val=1.0",
]


@pytest.mark.parametrize("override", NEUTRAL)
def test_option_that_changes_no_number_keeps_the_hash(override, make_config):
    assert run_hash(make_config(override)) == run_hash(make_config())


@pytest.mark.parametrize("override", DECISIVE)
def test_option_that_changes_numbers_changes_the_hash(override, make_config):
    assert run_hash(make_config(override)) != run_hash(make_config())


def test_no_two_runs_share_a_hash(make_config):
    hashes = {run_hash(make_config(override)) for override in [*DECISIVE, "seed=0"]}
    assert len(hashes) == len(DECISIVE) + 1


def test_folds_are_runs_of_their_own(make_config):
    folds = [run_dir(make_config("data.num_folds=5", f"data.fold={fold}")) for fold in range(5)]
    assert len(set(folds)) == 5


def test_identity_holds_plain_values_without_paths(make_config):
    found = identity(make_config())
    assert found["data"]["name"] == "digits"
    assert type(found["model"]["hidden_sizes"]) is list
    assert "root" not in found["data"]
    assert set(found) == {*GROUPS, *OPTIONS}
    assert found["callbacks"]["early_stopping"] is None  # published tables match on it
    assert "seed" not in found["data"]  # it is the run's
    assert "_target_" not in found["data"]


def test_no_option_is_both_in_the_hash_and_left_out():
    assert not NOT_IN_HASH.keys() & {*GROUPS, *OPTIONS}
    assert all(NOT_IN_HASH.values())


def test_with_data_of_ones_own_everything_about_it_counts(make_config):
    mine = "data._target_=mine.Data"
    hashes = {
        run_hash(make_config(mine, override))
        for override in (
            "seed=0", "data.root=/a", "data.eval_batch_size=7", "trainer.devices=2",
            "trainer.strategy=ddp",
        )
    }  # fmt: skip
    assert len(hashes) == 5


def test_hash_does_not_depend_on_the_folder_that_it_names(make_config):
    inside = "+callbacks.mine={_target_: mine.Watcher, path: '${run_dir}/watched'}"
    config = make_config(inside)
    assert identity(config)["callbacks"]["mine"]["path"] == "${run_dir}/watched"
    assert run_hash(config) == run_hash(make_config(inside, "outputs=elsewhere"))
    assert config.callbacks.mine.path == f"{run_dir(config)}/watched"
    indirect = make_config("+watched='${run_dir}/watched'", "+callbacks.mine.path='${watched}'")
    assert indirect.run_dir == str(run_dir(indirect))


def test_value_that_follows_the_seed_is_the_same_for_every_seed(make_config):
    found = [
        identity(make_config("+model.noise_seed='${seed}'", f"seed={seed}"))["model"]["noise_seed"]
        for seed in (1, 2)
    ]
    assert found == ["${seed}"] * 2


def test_helper_value_counts_where_it_is_referred_to(make_config):
    one, two = (make_config(f"+rate={rate}", "optimizer.lr='${rate}'") for rate in (0.1, 0.2))
    assert "rate" not in identity(one)
    assert run_hash(one) != run_hash(two)


def test_top_level_option_that_nothing_reads_is_refused(make_config):
    for typed, meant in (
        ("+lable_smoothing=0.3", "module.label_smoothing"),
        ("+label_smoothing=0.3", "module.label_smoothing"),
        ("+lr_multiplyer=0.3", "lr_multiplier"),
        ("+ckpt_pth=x", "ckpt_path"),
    ):
        with pytest.raises(ValueError, match=meant) as refused:
            check_top_level(make_config(typed))
        assert typed[1:].partition("=")[0] in str(refused.value)
    check_top_level(make_config("+rate=0.1", "optimizer.lr='${rate}'"))
    check_top_level(make_config("ckpt_path=x"))


def test_image_folders_with_other_paths_are_other_runs(make_config):
    hashes = {
        run_hash(make_config("data=image_folder", f"data.root=/pictures/{name}"))
        for name in ("cats", "dogs")
    }
    assert len(hashes) == 2


def test_auto_is_settled_before_the_identity(make_config):
    """The set that was found names the study and decides the hash: nothing is called auto."""
    auto = make_config("data=auto")
    assert auto.data.name in ("mnist", "digits")
    named = make_config(f"data={auto.data.name}")
    assert run_dir(auto) == run_dir(named)
    assert "auto" not in str(run_dir(auto).relative_to(auto.outputs))
    assert identity(auto)["data"]["name"] == auto.data.name


@pytest.mark.parametrize(
    ("run_name", "readable"),
    [
        ("mine", "mine"),
        ("'two words'", "two_words"),
        ("a/b", "a_b"),
        ("'../../etc'", "etc"),
    ],
)
def test_folder_is_named_by_what_every_file_system_takes(run_name, readable, make_config):
    name = run_folder_name(make_config(f"run_name={run_name}"))
    assert name.rpartition("-")[0].replace("__", "_") == readable


@pytest.mark.parametrize(("run_name", "readable"), [("größe 数字", "größe_数字"), ("/", "run")])
def test_letters_of_every_script_are_kept_and_no_folder_is_without_a_name(
    run_name, readable, make_config
):
    config = make_config()
    config.run_name = run_name
    assert run_folder_name(config) == f"{readable}-{run_hash(config)[:8]}"


def test_replicas_are_the_runs_of_their_seeds_alone(make_config):
    found = replicas(make_config("num_replicas=3", "seed=5"))
    alone = [make_config(f"seed={seed}") for seed in (5, 6, 7)]
    assert [run_dir(config) for config in found] == [run_dir(config) for config in alone]
    assert [config.num_replicas for config in found] == [1, 1, 1]
