"""Which knobs make another run, and which do not."""

import pytest

from optlab.training.identity import identity, replicas, run_dir, run_folder_name, run_hash

NEUTRAL = [
    "outputs=elsewhere",
    "logger=tensorboard",
    "logger=csv",
    "callbacks=figures",
    "callbacks=full",
    "data.root=/elsewhere",
    "data.eval_batch_size=7",
    "trainer.steps_per_call=1",
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
]
DECISIVE = [
    "seed=1",
    "lr_scale=0.1",
    "weight_decay_on=kernels",
    "label_smoothing=0.1",
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
    "trainer.max_epochs=3",
    "trainer.max_steps=30",
    "trainer.precision=64-true",
    "trainer.num_threads=2",
    "trainer.accumulate_grad_batches=2",
    "trainer.gradient_clip_norm=1.0",
]


@pytest.mark.parametrize("override", NEUTRAL)
def test_knob_that_changes_no_number_keeps_the_hash(override, make_config):
    assert run_hash(make_config(override)) == run_hash(make_config())


@pytest.mark.parametrize("override", DECISIVE)
def test_knob_that_changes_numbers_changes_the_hash(override, make_config):
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
    assert set(found) == {
        "data",
        "model",
        "optimizer",
        "scheduler",
        "callbacks",
        "trainer",
        "seed",
        "lr_scale",
        "weight_decay_on",
        "label_smoothing",
    }


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
