"""Contradictions of a config: each is named, all at once, before anything is read."""

import pytest

from optlab.training.option_values import ConfigError
from optlab.training.validate import (
    on_cuda,
    uses_cuda_graphs,
    validate_config,
)

PROBLEMS = [
    (["lr_multiplier=0"], r"lr_multiplier is 0; it must be a finite number > 0"),
    (["optimizer.lr=-0.1"], r"optimizer\.lr is -0\.1; it must be a finite number > 0"),
    (["optimizer.lr=inf"], r"optimizer\.lr is inf; it must be a finite number > 0"),
    (["optimizer.lr=nan"], r"optimizer\.lr is nan; it must be a finite number > 0"),
    (["optimizer.lr=fast"], r"optimizer\.lr is fast; it must be a finite number > 0"),
    (["trainer.gradient_clip_val=0"], r"trainer\.gradient_clip_val is 0; it must be"),
    (["trainer.max_epochs=0"], r"trainer\.max_epochs is 0; it must be a whole number >= 1"),
    (["trainer.max_epochs=2.5"], r"trainer\.max_epochs is 2\.5; it must be a whole number >= 1"),
    (["trainer.max_epochs=many"], r"trainer\.max_epochs is many; it must be a whole number"),
    (["num_threads=0"], r"num_threads is 0; it must be a whole number in \[1, 1024\]"),
    (["trainer.accumulate_grad_batches=0"], r"trainer\.accumulate_grad_batches is 0; it must"),
    (["num_replicas=0"], r"num_replicas is 0; it must be a whole number >= 1"),
    (["trainer.accelerator={a:1}"], r"trainer\.accelerator is \{.a.: 1\}; allowed: auto, gpu, cpu"),
    (["trainer.max_epochs=null"], r"trainer\.max_epochs is null; it must be a whole number >= 1"),
    (["trainer.max_steps=0"], r"trainer\.max_steps is 0; it must be a whole number >= 1, or -1"),
    (["trainer.max_steps=many"], r"trainer\.max_steps is many; it must .*>= 1, or -1"),
    (["module.label_smoothing=1"], r"module\.label_smoothing is 1; it must .*in \[0, 1\)"),
    (["module.label_smoothing=much"], r"module\.label_smoothing is much; it must .*in \[0, 1\)"),
    (["seed=-1"], r"seed is -1; it must be a whole number >= 0"),
    (["seed=abc"], r"seed is abc; it must be a whole number >= 0"),
    (
        ["module.decay_norm_and_bias=kernels"],
        r"decay_norm_and_bias is kernels; it must be true or false",
    ),
    (["trainer.precision=8"], r"[Pp]recision.*8.*bf16-mixed.*32-true"),
    (["model.activation=rellu"], r"model\.activation is rellu; (?s:.*)did you mean relu"),
    (["model.hidden_sizes=512"], r"model\.hidden_sizes is 512; it must be a list of whole numbers"),
    (["data.batch_size=0"], r"data\.batch_size is 0; .* >= 1"),
    (["+model.droput=0.5"], r"model\.droput: .*MLP .*model\.dropout"),
    (["+optimizer.momentum=0.9"], r"optimizer\.momentum: torch\.optim\.Adam"),
    (["+data.batchsize=3"], r"data\.batchsize: .*data\.batch_size"),
    (["optimizer._target_=torch.optim.Sgd"], r"optimizer\._target_ is torch\.optim\.Sgd, which"),
    (["callbacks.best.monitor=test/accuracy"], r"best\.monitor is test/accuracy; .*never test"),
    (["callbacks.best.mode=min"], r"best\.mode is min; .*val/accuracy .*max"),
    (
        ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/accuracy"],
        r"callbacks\.early_stopping\.mode is min; .*val/accuracy .*max",
    ),
    (
        ["optimizer=lbfgs", "trainer.accumulate_grad_batches=2"],
        r"trainer\.accumulate_grad_batches=2 .*; raise data\.batch_size instead",
    ),
    (["optimizer=lbfgs", "trainer.gradient_clip_val=1"], r"=lbfgs .* trainer\.gradient_clip_val"),
    (
        ["optimizer=lbfgs", "model=finetuned", "model.weights=/run"],
        r"=lbfgs takes all weights at once; set model\.freeze_body=false",
    ),
    (
        ["optimizer=rprop", "module.decay_norm_and_bias=false"],
        r"decay_norm_and_bias=false, but optimizer=rprop has no weight_decay; leave",
    ),
    (["num_replicas=2", "optimizer=lbfgs"], r"=2 with optimizer=lbfgs: its line search"),
    (["num_replicas=2", "optimizer=muon"], r"=2 with optimizer=muon: it orthogonalizes"),
    (["num_replicas=2", "optimizer=adafactor"], r"=2 with optimizer=adafactor: it factors"),
    (["num_replicas=2", "trainer.gradient_clip_val=1"], r"=2 with trainer\.gradient_clip_val"),
    (["num_replicas=2", "callbacks=early_stopping"], r"num_replicas=2 with early stopping"),
    (["num_replicas=2", "callbacks=ema"], r"num_replicas=2 with callbacks\.average"),
    (["num_replicas=2", "callbacks=diagnostics"], r"=2 with callbacks\.diagnostics"),
    (["num_replicas=2", "scheduler=plateau"], r"num_replicas=2 with scheduler=plateau"),
    (["num_replicas=2", "trainer=ddp"], r"num_replicas=2 with trainer\.strategy=ddp"),
    (["num_replicas=2", "model=resnet18_pretrained"], r"=2 with model=resnet18_pretrained: a fr"),
    (["num_replicas=2", "model=finetuned", "model.weights=/run"], r"=2 with model=finetuned: a fr"),
    (["trainer=ddp", "optimizer=lbfgs"], r"ddp with optimizer=lbfgs: .* device"),
    (
        ["trainer=ddp", "model=finetuned", "model.weights=/run", "model.unfreeze_epoch=2"],
        r"ddp with model\.unfreeze_epoch: .*use null",
    ),
    (["seed=true"], r"seed is true; it must be a whole number >= 0"),
    (["trainer.max_epochs=true"], r"trainer\.max_epochs is true; it must be a whole number"),
    (["trainer=ddp", "trainer.devices=0"], r"trainer\.devices is 0; .* at least one"),
    (["num_replicas=2", "data.seed=3"], r"num_replicas=2 with data\.seed=3"),
    (
        ["optimizer.betas=3"],
        r"optimizer\.betas is 3; it must be a list of 2 finite numbers, each in \[0, 1\)",
    ),
    (
        ["optimizer=sgd", "optimizer.momentum=-1"],
        r"optimizer\.momentum is -1; it must be a finite number in \[0, 1\)",
    ),
    (["trainer.accelerator=gpus"], r"trainer\.accelerator is gpus; allowed: auto, gpu, cpu, "),
    (["trainer.strategy=ddpp"], r"trainer\.strategy is ddpp; allowed: auto, ddp"),
    (["+trainer.gradient_clip_norm=1"], r"did you mean trainer\.gradient_clip_algorithm"),
    (["+callbacks.foo.bar=1"], r"callbacks\.foo .*_target_"),
    (["scheduler=warmup_cosine", "scheduler.warmup_fraction=1.5"], r"warmup_fraction is 1\.5; .*"),
    (["scheduler=step", "scheduler.gamma=7"], r"has invalid options: scheduler\.gamma is 7; .*"),
    (
        ["scheduler=warmup_cosine", "scheduler.warmup_fraction=null", "scheduler.warmup_steps=50",
         "trainer.max_steps=20"],
        r"scheduler\.warmup_steps is 50, but",
    ),
    (["num_replicas=2", "scheduler=plateau", "scheduler.name=p"], r"=2 with scheduler=plateau"),
    (["optimizer=rmsprop", "optimizer.alpha=1.5"], r"alpha is 1\.5; it must be .* in \[0, 1\)"),
    (["optimizer=schedule_free", "optimizer.betas=[0,0.9]"], r"is \[0, 0\.9\]; .*in \(0, 1\)"),
    (["callbacks.early_stopping=true"], r"early_stopping is True; .*callbacks=early_stopping"),
    (["+trainer.limit_val_batches=0"], r"limit_val_batches is 0; it must be a finite number > 0"),
    (["+trainer.check_val_every_n_epoch=20"], r"check_val_every_n_epoch is 20, more than"),
    (["trainer.precision=16-mixed"], r"trainer\.precision is 16-mixed, .*precision=bf16-mixed"),
    (["+trainer.profiler=simpel"], r"lightning\.Trainer has invalid options: .*simple"),
    (["+trainer.limit_train_batches=1.5"], r"has invalid options: .*1\.5.*limit_train_batches"),
    (["+trainer.limit_train_batch=10"], r"limit_train_batch: .*trainer\.limit_train_batches"),
    (["+trainer.callbacks=[]"], r"trainer\.callbacks is set by OptLab; use the group callbacks"),
    (["+trainer.logger=false"], r"trainer\.logger is set by OptLab; use the group logger"),
    (["+trainer.plugins=[]"], r"trainer\.plugins is set by OptLab; use trainer\.precision"),
    (["+trainer.default_root_dir=x"], r"trainer\.default_root_dir is set by OptLab; use outputs"),
    (["+trainer.enable_checkpointing=false"], r"checkpointing is set by OptLab; .*callbacks\.best"),
    (["+lr_multiplyer=2"], r"unknown option lr_multiplyer; did you mean lr_multiplier"),
    (["+module.label_smothing=0.1"], r"module\.label_smothing: .*module\.label_smoothing"),
    (["+scheduler.gamma=0.1"], r"unknown option scheduler\.gamma"),
    (
        ["scheduler=cosine", "+scheduler.final_facto=0"],
        r"scheduler\.final_facto: .*scheduler\.final_factor",
    ),
    (["+callbacks.best.monitr=x"], r"callbacks\.best\.monitr: .*callbacks\.best\.monitor"),
    (["logger=csv", "+logger.csv.nam=x"], r"logger\.csv\.nam: .*logger\.csv\.name"),
    (["logger=tensorboard", "+logger.tensorboard.flush_sec=1"], r"flush_sec: .*flush_secs"),
    (["callbacks.figures=true"], r"callbacks\.figures is True; .*or null"),
    (["compile=graph"], r"compile is graph; it must be true or false"),
    (["lean_loop=1"], r"lean_loop is 1; it must be true or false"),
    (["~optimizer", "run_name=r"], r"optimizer is null, but .*optimizer=adam"),
    (
        ["scheduler._target_=torch.optim.lr_scheduler.StepLR"],
        r"StepLR has invalid options: .*step_size",
    ),
    (["+trainer.num_nodes=2"], r"trainer\.num_nodes is 2; that needs trainer\.strategy=ddp"),
    (["+trainer.fast_dev_run=true"], r"fast_dev_run is True; .*debug=fast_dev_run"),
    (["+trainer.min_epochs=20"], r"trainer\.min_epochs is 20, more than trainer\.max_epochs, 10"),
    (["+trainer.min_steps=9", "trainer.max_steps=8"], r"min_steps is 9, more than .*max_steps, 8"),
    (["trainer.gradient_clip_algorithm=value"], r"algorithm is value, .*gradient_clip_val"),
    (["scheduler=plateau", "+trainer.check_val_every_n_epoch=2"], r"every_n_epoch is 2, .*plateau"),
    (
        ["scheduler=plateau", "+trainer.check_val_every_n_epoch=null"],
        r"every_n_epoch is null, .*plateau",
    ),
    (["num_replicas=2", "+trainer.check_val_every_n_epoch=null"], r"num_replicas=2 .*every_n"),
    (["+trainer.sync_batchnorm=true"], r"trainer\.sync_batchnorm is set by OptLab"),
    (["callbacks.best.dirpath=elsewhere"], r"callbacks\.best\.dirpath is elsewhere, .*best\.ckpt"),
    (["callbacks.best.enable_version_counter=true"], r"version_counter is True, .*best\.ckpt"),
    (["+callbacks.best.every_n_train_steps=5"], r"best\.every_n_train_steps is 5, .*best\.ckpt"),
    (
        ["callbacks=early_stopping", "callbacks.early_stopping.mode=most"],
        r"callbacks\.early_stopping\.mode is most",
    ),
    (
        ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"],
        r"\.stop\.monitor is miss",
    ),
    (
        ["+callbacks.often._target_=lightning.pytorch.callbacks.ModelCheckpoint",
         "+callbacks.often.every_n_epochs=-1"],
        r"callbacks\.often .*every_n_epochs",
    ),
    (["optimizer.fused=false", "+optimizer.capturable=true"], r"optimizer\.capturable is true"),
    (["optimizer=rprop", "optimizer.step_sizes=[1,0.1]"], r"step_sizes is \[1, 0\.1\]; the small"),
    (["model.batch_norm=maybe"], r"model\.batch_norm is maybe; it must be true or false"),
    (["data.augment.rotation_degrees=true"], r"rotation_degrees is true; it must be a finite"),
    (["num_replicas=2", "callbacks.best=null"], r"=2 with callbacks\.best=null"),
    (
        ["model=mlp_numpy", "module._target_=lightning.LightningModule",
         "~module.label_smoothing", "~module.decay_norm_and_bias"],
        r"model=mlp_numpy .* leave module\._target_",
    ),
    (["+model._convrt_=all"], r"model\._convrt_; did you mean model\._convert_"),
    (["trainer.devices=2"], r"trainer\.devices is 2; that needs trainer\.strategy=ddp"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), PROBLEMS, ids=lambda v: str(v)[:50])
def test_contradiction_is_named(overrides, message, make_config):
    with pytest.raises(ValueError, match=message) as refused:
        validate_config(make_config(*overrides))
    assert str(refused.value).startswith("the config has 1 problem:\n  - ")


def test_gpu_that_is_not_there_is_named(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"trainer\.accelerator is gpu, .*; use trainer=auto"):
        validate_config(make_config("trainer=gpu"))


def test_graphs_without_a_gpu_of_its_own_are_refused(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("optlab.training.validate._trainer_errors", lambda config: [])
    graphs = ("cuda_graphs=true", "trainer.accelerator=gpu")
    validate_config(make_config(*graphs))
    for without in ("trainer.accelerator=cpu", "trainer.strategy=ddp"):
        with pytest.raises(ConfigError, match=r"cuda_graphs=true .* use cuda_graphs=false"):
            validate_config(make_config(*graphs, without))


def test_graphs_are_used_on_one_cuda_device_only(make_config, monkeypatch):
    gpu = make_config("cuda_graphs=true", "trainer.accelerator=auto")
    for available in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda: available)  # noqa: B023
        assert on_cuda(gpu) is uses_cuda_graphs(gpu) is available
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not uses_cuda_graphs(make_config("trainer.accelerator=auto"))
    assert not on_cuda(make_config("cuda_graphs=true"))


def test_precision_of_a_gpu_is_taken_there(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("optlab.training.validate._trainer_errors", lambda config: [])
    validate_config(make_config("trainer.accelerator=gpu", "trainer.precision=16-mixed"))


def test_all_problems_are_named_at_once(make_config):
    config = make_config(
        "lr_multiplier=-1", "trainer.max_epochs=0", "callbacks.best.mode=min", "num_replicas=2",
        "optimizer=muon", "+model.droput=0.5",
    )  # fmt: skip
    with pytest.raises(ValueError, match="the config has 5 problems:") as refused:
        validate_config(config)
    assert str(refused.value).count("\n  - ") == 5


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=lbfgs"],
        ["num_replicas=3", "optimizer=adamw", "module.decay_norm_and_bias=false"],
        ["trainer=ddp", "trainer.accelerator=cpu"],
        ["callbacks=plateau_and_stopping"],
        ["trainer.max_steps=-1"],
        ["~scheduler"],
        ["~callbacks", "~logger"],
        ["callbacks.best=null"],
        ["logger=[csv,tensorboard]"],
        ["+trainer.limit_train_batches=10"],
        ["debug=fast_dev_run"],
        ["+trainer.profiler=simple"],
        ["+trainer.val_check_interval=0.25"],
        ["+trainer.overfit_batches=3"],
        ["+trainer.deterministic=false"],
        ["trainer.precision=bf16-mixed"],
        ["trainer.precision=64-true"],
        ["scheduler._target_=torch.optim.lr_scheduler.StepLR", "+scheduler.step_size=5"],
        ["scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", "+scheduler.max_lr=0.1"],
        ["+callbacks.lr._target_=lightning.pytorch.callbacks.LearningRateMonitor"],
        ["callbacks.best.monitor=val/loss", "callbacks.best.mode=min"],
        [
            "module._target_=lightning.LightningModule",
            "~module.label_smoothing",
            "~module.decay_norm_and_bias",
            "callbacks.best.monitor=val/f1",
        ],
        ["+half=0.5", "model.dropout=${half}"],
    ],
    ids=str,
)
def test_sound_config_passes(overrides, make_config):
    validate_config(make_config(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["scheduler=warmup_cosine", "scheduler.warmup_fraction=null",
             "scheduler.warmup_steps=500", "trainer.max_epochs=1"],
            r"scheduler\.warmup_steps is 500, but the run has 21 optimizer steps",
        ),
        (["scheduler=step", "scheduler.gamma=2"], r"scheduler\.gamma is 2; .* in \(0, 1\]"),
        (["data.batch_size=0"], r"data\.batch_size is 0; .* >= 1"),
        (["data.num_folds=5", "data.fold=5"], r"data\.fold"),
        (["data.val_fraction=1.5"], r"data\.val_fraction"),
        (["model.dropout=1.5"], r"dropout"),
        (["model.activation=rleu"], r"rleu"),
        (["+data.augment.flip=true"], r"unknown option data\.augment\.flip"),
    ],
    ids=lambda v: str(v)[:50],
)  # fmt: skip
def test_wrong_value_of_a_part_is_a_value_error_before_the_first_step(
    overrides, message, make_config, monkeypatch
):
    from optlab.training.run import run

    def too_late(*args, **kwargs):
        raise AssertionError("training had begun")

    monkeypatch.setattr("optlab.training.classifier.ImageClassifier.training_step", too_late)
    with pytest.raises(Exception, match=message) as refused:
        run(make_config(*overrides))
    causes = (refused.value, refused.value.__cause__)
    assert any(isinstance(cause, ValueError) for cause in causes), type(refused.value)


def test_gpu_that_emulates_bf16_is_told(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("optlab.training.validate._trainer_errors", lambda config: [])
    config = make_config("trainer=gpu")
    for supported in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **options: supported)  # noqa: B023
        if supported:
            validate_config(config)
        else:
            with pytest.raises(ValueError, match="bf16-mixed, which this GPU only emulates"):
                validate_config(config)
