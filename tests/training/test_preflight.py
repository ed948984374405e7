"""Contradictions of a config: each told, all at once, before anything is read."""

import pytest

from optlab.training.preflight import preflight

PROBLEMS = [
    (["lr_scale=0"], r"lr_scale is 0; it must be a finite number > 0"),
    (["optimizer.lr=-0.1"], r"optimizer\.lr is -0\.1; it must be a finite number > 0"),
    (["optimizer.lr=inf"], r"optimizer\.lr is inf; it must be a finite number > 0"),
    (["optimizer.lr=nan"], r"optimizer\.lr is nan; it must be a finite number > 0"),
    (["optimizer.lr=fast"], r"optimizer\.lr is fast; it must be a finite number > 0"),
    (["trainer.gradient_clip_norm=0"], r"trainer\.gradient_clip_norm is 0; it must be"),
    (["trainer.max_epochs=0"], r"trainer\.max_epochs is 0; it must be a whole number >= 1"),
    (["trainer.max_epochs=2.5"], r"trainer\.max_epochs is 2\.5; it must be a whole number >= 1"),
    (["trainer.max_epochs=many"], r"trainer\.max_epochs is many; it must be a whole number"),
    (["trainer.num_threads=0"], r"trainer\.num_threads is 0; it must be a whole number >= 1"),
    (["trainer.steps_per_call=0"], r"trainer\.steps_per_call is 0; it must be a whole"),
    (["trainer.accumulate_grad_batches=0"], r"trainer\.accumulate_grad_batches is 0; it must"),
    (["num_replicas=0"], r"num_replicas is 0; it must be a whole number >= 1"),
    (["trainer.max_steps=0"], r"trainer\.max_steps is 0; allowed: >= 1, or -1 for no bound"),
    (["trainer.max_steps=many"], r"trainer\.max_steps is many; allowed: >= 1, or -1"),
    (["label_smoothing=1"], r"label_smoothing is 1; it must .*in \[0, 1\)"),
    (["label_smoothing=much"], r"label_smoothing is much; it must .*in \[0, 1\)"),
    (["seed=-1"], r"seed is -1; it must be a whole number >= 0"),
    (["seed=abc"], r"seed is abc; it must be a whole number >= 0"),
    (["weight_decay_on=bias"], r"weight_decay_on is bias; allowed: all, kernels"),
    (["trainer.precision=8"], r"trainer\.precision is 8; allowed: 32-true, bf16-mixed, 64-true"),
    (["model.activation=rellu"], r"model\.activation is 'rellu', .*did you mean 'relu'"),
    (["model.hidden_sizes=512"], r"MLP refuses its knobs: 'int' object is not iterable"),
    (["data.batch_size=0"], r"data\.batch_size is 0, but must be at least 1; leave"),
    (["+model.droput=0.5"], r"model\.droput is no knob of .*MLP; did you mean dropout"),
    (["+optimizer.momentum=0.9"], r"optimizer\.momentum is no knob of torch\.optim\.Adam"),
    (["+data.batchsize=3"], r"data\.batchsize is no knob of .*; did you mean batch_size\?"),
    (["optimizer._target_=torch.optim.Sgd"], r"optimizer\._target_ is torch\.optim\.Sgd, which"),
    (["callbacks.best.monitor=test/accuracy"], r"best\.monitor is test/accuracy; .*never test"),
    (["callbacks.best.mode=min"], r"best\.mode is min; val/accuracy is better at its max"),
    (
        ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/accuracy"],
        r"callbacks\.early_stopping\.mode is min; val/accuracy is better at its max",
    ),
    (
        ["optimizer=lbfgs", "trainer.accumulate_grad_batches=2"],
        r"trainer\.accumulate_grad_batches=2 is refused; raise data\.batch_size instead",
    ),
    (["optimizer=lbfgs", "trainer.gradient_clip_norm=1"], r"=lbfgs with trainer\.gradient_clip"),
    (
        ["optimizer=lbfgs", "model=finetuned", "model.weights=/run"],
        r"=lbfgs takes all weights at once; set model\.freeze_body=false",
    ),
    (
        ["optimizer=rprop", "weight_decay_on=kernels"],
        r"weight_decay_on=kernels, but optimizer=rprop has no weight_decay; leave",
    ),
    (["num_replicas=2", "optimizer=lbfgs"], r"=2 with optimizer=lbfgs: its line search"),
    (["num_replicas=2", "optimizer=muon"], r"=2 with optimizer=muon: it orthogonalises"),
    (["num_replicas=2", "optimizer=adafactor"], r"=2 with optimizer=adafactor: it factors"),
    (["num_replicas=2", "trainer.gradient_clip_norm=1"], r"=2 with trainer\.gradient_clip_norm"),
    (["num_replicas=2", "callbacks=early_stopping"], r"num_replicas=2 with early stopping"),
    (["num_replicas=2", "scheduler=plateau"], r"num_replicas=2 with scheduler=plateau"),
    (["num_replicas=2", "trainer=ddp"], r"num_replicas=2 with trainer\.strategy=ddp"),
    (["num_replicas=2", "model=resnet18_pretrained"], r"=2 with model=resnet18_pretrained: a fr"),
    (["num_replicas=2", "model=finetuned", "model.weights=/run"], r"=2 with model=finetuned: a fr"),
    (["trainer=ddp", "optimizer=lbfgs"], r"ddp with optimizer=lbfgs: each device would search"),
    (
        ["trainer=ddp", "model=finetuned", "model.weights=/run", "model.unfreeze_epoch=2"],
        r"ddp with model\.unfreeze_epoch: its weights join too late",
    ),
    (["seed=true"], r"seed is True; it must be a whole number >= 0"),
    (["trainer.max_epochs=true"], r"trainer\.max_epochs is True; it must be a whole number"),
    (["trainer=ddp", "trainer.devices=0"], r"trainer\.devices is 0; a run needs one or more"),
    (["+data.seed=3"], r"data\.seed is not read; what it stands for is seed"),
    (["+data.steps_per_call=3"], r"data\.steps_per_call is not read; .* trainer\.steps_per_call"),
    (["optimizer.betas=3"], r"torch\.optim\.Adam refuses its knobs: .*\(TypeError\); python train"),
    (["optimizer=sgd", "optimizer.momentum=-1"], r"refuses its knobs: Invalid momentum value: -1"),
    (["trainer.accelerator=cuda"], r"accelerator is cuda; allowed: auto, cpu, gpu, mps"),
    (["trainer.strategy=ddpp"], r"trainer\.strategy is ddpp; allowed: auto, ddp"),
    (["+trainer.gradient_clip_val=1"], r"clip_val is read by nothing; did you mean gradient_"),
    (["+callbacks.foo.bar=1"], r"callbacks\.foo is read by nothing"),
    (["scheduler=warmup_cosine", "scheduler.warmup_fraction=1.5"], r"warmup_fraction is 1\.5, but"),
    (["scheduler=step", "scheduler.gamma=7"], r"refuses its knobs: scheduler\.gamma is 7, but"),
    (
        ["scheduler=warmup_cosine", "scheduler.warmup_fraction=null", "scheduler.warmup_steps=50",
         "trainer.max_steps=20"],
        r"scheduler\.warmup_steps is 50, but",
    ),
    (["num_replicas=2", "scheduler=plateau", "scheduler.name=p"], r"=2 with scheduler=plateau"),
    (["optimizer=rmsprop", "optimizer.alpha=1.5"], r"alpha is 1\.5; it must be in \[0, 1\)"),
    (["optimizer=schedule_free", "optimizer.betas=[0,0.9]"], r"betas is \[0, 0\.9\]; each must be"),
    (["callbacks.early_stopping=true"], r"early_stopping is True; .* callbacks=early_stopping sw"),
    (["trainer.devices=2"], r"trainer\.devices is 2; that needs trainer\.strategy=ddp"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), PROBLEMS, ids=lambda v: str(v)[:50])
def test_contradiction_is_named(overrides, message, make_config):
    with pytest.raises(ValueError, match=message) as refused:
        preflight(make_config(*overrides))
    assert str(refused.value).startswith("the config has 1 problem:\n  - ")


def test_gpu_that_is_not_there_is_named(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=r"trainer\.accelerator is gpu, but torch sees none; use"):
        preflight(make_config("trainer=gpu"))


def test_graph_without_a_gpu_of_its_own_is_refused(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    graph = ("trainer.compile=graph", "trainer.accelerator=gpu")
    preflight(make_config(*graph))
    for without in ("trainer.accelerator=cpu", "trainer.strategy=ddp"):
        with pytest.raises(ValueError, match=r"compile=graph records .* use true or false"):
            preflight(make_config(*graph, without))


@pytest.mark.parametrize("value", ["1", "Graph", "'true'", "max"])
def test_unknown_compile_mode_names_the_known_ones(value, make_config):
    with pytest.raises(ValueError, match=r"compile is .*; allowed: false, true, graph"):
        preflight(make_config(f"trainer.compile={value}"))


def test_all_problems_are_told_at_once(make_config):
    config = make_config(
        "lr_scale=-1", "trainer.max_epochs=0", "callbacks.best.mode=min", "num_replicas=2",
        "optimizer=muon", "+model.droput=0.5",
    )  # fmt: skip
    with pytest.raises(ValueError, match="the config has 5 problems:") as refused:
        preflight(config)
    assert str(refused.value).count("\n  - ") == 5


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=lbfgs"],
        ["num_replicas=3", "optimizer=adamw", "weight_decay_on=kernels"],
        ["trainer=ddp", "trainer.accelerator=cpu"],
        ["callbacks=plateau_and_stopping"],
        ["trainer.max_steps=-1"],
    ],
    ids=str,
)
def test_sound_config_passes(overrides, make_config):
    preflight(make_config(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["scheduler=warmup_cosine", "scheduler.warmup_fraction=null",
             "scheduler.warmup_steps=500", "trainer.max_epochs=1"],
            r"scheduler\.warmup_steps is 500, but the run has 21 optimizer steps",
        ),
        (["scheduler=step", "scheduler.gamma=2"], r"scheduler\.gamma is 2, but it has to be in"),
        (["data.batch_size=0"], r"data\.batch_size is 0, but must be at least 1"),
        (["data.num_folds=5", "data.fold=5"], r"data\.fold"),
        (["data.val_fraction=1.5"], r"data\.val_fraction"),
        (["model.dropout=1.5"], r"dropout"),
        (["model.activation=rleu"], r"rleu"),
        (["+data.augment.flip=true"], r"data\.augment\.flip is no augmentation"),
    ],
    ids=lambda v: str(v)[:50],
)  # fmt: skip
def test_wrong_value_of_a_part_is_a_value_error_before_the_first_step(
    overrides, message, make_config, monkeypatch
):
    import lightning as L

    from optlab.training.run import run

    def too_late(*args, **kwargs):
        raise AssertionError("training had begun")

    monkeypatch.setattr(L.Trainer, "fit", too_late)
    with pytest.raises(Exception, match=message) as refused:
        run(make_config(*overrides))
    causes = (refused.value, refused.value.__cause__)
    assert any(isinstance(cause, ValueError) for cause in causes), type(refused.value)


def test_gpu_that_emulates_bf16_is_told(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    config = make_config("trainer=gpu")
    for supported in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **options: supported)  # noqa: B023
        if supported:
            preflight(config)
        else:
            with pytest.raises(ValueError, match="bf16-mixed, which this GPU only emulates"):
                preflight(config)
