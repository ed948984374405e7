"""Contradictions of a config: each is named, all at once, before anything is read."""

import re

import pytest

from optlab.training.option_values import ConfigError
from optlab.training.validate import (
    on_cuda,
    uses_cuda_graphs,
    validate_config,
)

PROBLEMS = [
    (["lr_multiplier=0"], r"lr_multiplier .*\b0\b.* > 0"),
    (["optimizer.lr=-0.1"], r"optimizer\.lr .*-0\.1\b.* > 0"),
    (["optimizer.lr=inf"], r"optimizer\.lr .*\binf\b.* > 0"),
    (["optimizer.lr=nan"], r"optimizer\.lr .*\bnan\b.* > 0"),
    (["optimizer.lr=fast"], r"optimizer\.lr .*\bfast\b.* > 0"),
    (["trainer.gradient_clip_val=0"], r"trainer\.gradient_clip_val .*\b0\b.* > 0"),
    (["trainer.max_epochs=0"], r"trainer\.max_epochs .*\b0\b.* >= 1$"),
    (["trainer.max_epochs=2.5"], r"trainer\.max_epochs .*\b2\.5\b.* >= 1"),
    (["trainer.max_epochs=many"], r"trainer\.max_epochs .*\bmany\b.* >= 1"),
    (["num_threads=0"], r"num_threads .*\b0\b.* \[1, 1024\]"),
    (["trainer.accumulate_grad_batches=0"], r"trainer\.accumulate_grad_batches .*\b0\b.* >= 1"),
    (["num_replicas=0"], r"num_replicas .*\b0\b.* >= 1"),
    (["trainer.accelerator={a:1}"], r"trainer\.accelerator .*\{.a.: 1\}.*auto, gpu, cpu"),
    (["trainer.max_epochs=null"], r"trainer\.max_epochs .*\bnull\b.* >= 1$"),
    (["trainer.max_epochs=None"], r"trainer\.max_epochs .*\bNone\b.* >= 1$"),
    (["trainer._target_=argparse.Namespace", "trainer.max_epochs=null"], r"max_epochs .*\bnull\b"),
    (["trainer.devices=null"], r"trainer\.devices .*\bnull\b.* list\b(?!(?s:.*)ddp)"),
    (["trainer.max_steps=0"], r"trainer\.max_steps .*\b0\b.* >= 1, or -1"),
    (["trainer.max_steps=many"], r"trainer\.max_steps .*\bmany\b.* >= 1, or -1"),
    (["module.label_smoothing=1"], r"module\.label_smoothing .*\b1\b.* \[0, 1\)"),
    (["module.label_smoothing=much"], r"module\.label_smoothing .*\bmuch\b.* \[0, 1\)"),
    (["seed=-1"], r"seed .*-1\b.* >= 0"),
    (["seed=abc"], r"seed .*\babc\b.* >= 0"),
    (["module.decay_norm_and_bias=kernels"], r"decay_norm_and_bias .*\bkernels\b.* true.*false"),
    (["trainer.precision=8"], r"trainer\.precision .*\b8\b(?!.* 32,.* 32,).*bf16-mixed, .*null"),
    (["model.activation=rellu"], r"model\.activation .*\brellu\b(?s:.*)hint: .*\brelu\b"),
    (["model.hidden_sizes=512"], r"model\.hidden_sizes .*\b512\b.* list\b.* whole\b"),
    (["data.batch_size=0"], r"data\.batch_size .*\b0\b.* >= 1"),
    (["+model.droput=0.5"], r"model\.droput\b.*MLP .*model\.dropout"),
    (["+optimizer.momentum=0.9"], r"\.momentum\b.*\.Adam (?!.*params).* betas, .*name,"),
    (["+optimizer.params=1"], r"optimizer\.params .*\b1\b.*\w$"),
    (["+callbacks.swa=1"], r"callbacks\.swa\b(?!.*\bbest\b).*\bnull\b.* _target_\b"),
    (["+callbacks.swa._target_=3"], r"callbacks\.swa\._target_ .*\b3\b"),
    (["optimizer=lookahead", "optimizer@optimizer.base=sam"], r"base .*\bSAM\b.*Lookahead "),
    (["+data.batchsize=3"], r"data\.batchsize\b.*data\.batch_size"),
    (["optimizer._target_=torch.optim.Sgd"], r"optimizer\._target_ .*torch\.optim\.Sgd\b"),
    (["callbacks.best.monitor=test/accuracy"], r"monitor .*test/accuracy.*val/accuracy, val/loss"),
    (["callbacks.best.mode=min"], r"best\.mode .*\bmin\b.*val/accuracy .*max"),
    (
        ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/accuracy"],
        r"callbacks\.early_stopping\.mode .*\bmin\b.*val/accuracy .*max",
    ),
    (
        ["optimizer=lbfgs", "trainer.accumulate_grad_batches=2"],
        r"=lbfgs .*trainer\.accumulate_grad_batches=2 .*data\.batch_size",
    ),
    (["optimizer=lbfgs", "trainer.gradient_clip_val=1"], r"=lbfgs .* trainer\.gradient_clip_val"),
    (
        ["optimizer=lbfgs", "model=finetuned", "model.weights=/run"],
        r"=lbfgs .*model\.freeze_body=false",
    ),
    (
        ["optimizer=rprop", "module.decay_norm_and_bias=false"],
        r"decay_norm_and_bias=false, .*optimizer=rprop .*weight_decay.* true",
    ),
    (["num_replicas=2", "optimizer=lbfgs"], r"=2 .*optimizer=lbfgs\b.*seed="),
    (["num_replicas=2", "optimizer=muon"], r"=2 .*optimizer=muon\b.*seed="),
    (["num_replicas=2", "optimizer=adafactor"], r"=2 .*optimizer=adafactor\b.*seed="),
    (["num_replicas=2", "trainer.gradient_clip_val=1"], r"=2 .*trainer\.gradient_clip_val"),
    (["num_replicas=2", "callbacks=early_stopping"], r"=2 .*callbacks\.early_stopping"),
    (["num_replicas=2", "callbacks=ema"], r"num_replicas=2 .*callbacks\.average"),
    (["num_replicas=2", "callbacks=diagnostics"], r"num_replicas=2 .*callbacks\.diagnostics"),
    (["num_replicas=2", "scheduler=plateau"], r"num_replicas=2 .*scheduler=plateau"),
    (["num_replicas=2", "trainer=ddp"], r"num_replicas=2 .*trainer\.strategy=ddp"),
    (["num_replicas=2", "model=resnet18_pretrained"], r"=2 .*model=resnet18_pretrained"),
    (["num_replicas=2", "model=finetuned", "model.weights=/run"], r"=2 .*model=finetuned"),
    (["trainer=ddp", "optimizer=lbfgs"], r"strategy=ddp .*optimizer=lbfgs"),
    (
        ["trainer=ddp", "model=finetuned", "model.weights=/run", "model.unfreeze_epoch=2"],
        r"ddp .*model\.unfreeze_epoch.* null",
    ),
    (["seed=true"], r"seed .*\btrue\b.* >= 0"),
    (["trainer.max_epochs=true"], r"trainer\.max_epochs .*\btrue\b.* >= 1"),
    (["trainer=ddp", "trainer.devices=0"], r"trainer\.devices .*\b0\b"),
    (["num_replicas=2", "data.seed=3"], r"num_replicas=2 .*data\.seed=3"),
    (["optimizer.betas=3"], r"optimizer\.betas .*\b3\b.* list\b.* 2 .*\[0, 1\)"),
    (["optimizer=sgd", "optimizer.momentum=-1"], r"optimizer\.momentum .*-1\b.* \[0, 1\)"),
    (["trainer.accelerator=gpus"], r"trainer\.accelerator .*\bgpus\b.*auto, gpu, cpu, "),
    (["trainer.strategy=ddpp"], r"trainer\.strategy .*\bddpp\b.*auto, ddp\b"),
    (["+trainer.gradient_clip_norm=1"], r"clip_norm\b.*trainer\.gradient_clip_algorithm"),
    (["+callbacks.foo.bar=1"], r"callbacks\.foo\b.*_target_"),
    (["scheduler=warmup_cosine", "scheduler.warmup_fraction=1.5"], r"fraction .*1\.5\b.*\[0, 1\]"),
    (["scheduler=step", "scheduler.gamma=7"], r"\.step .*scheduler\.gamma .*\b7\b.* \(0, 1\]"),
    (
        ["scheduler=warmup_cosine", "scheduler.warmup_fraction=null", "scheduler.warmup_steps=50",
         "trainer.max_steps=20"],
        r"scheduler\.warmup_steps .*\b50\b.*\b20\b",
    ),
    (["num_replicas=2", "scheduler=plateau", "scheduler.name=p"], r"=2 .*scheduler=plateau"),
    (["optimizer=rmsprop", "optimizer.alpha=1.5"], r"optimizer\.alpha .*\b1\.5\b.* \[0, 1\)"),
    (["optimizer=schedule_free", "optimizer.betas=[0,0.9]"], r"betas .*\[0, 0\.9\].* \(0, 1\)"),
    (["callbacks.early_stopping=true"], r"early_stopping .*[Tt]rue\b.*callbacks=early_stopping"),
    (["+trainer.limit_val_batches=0"], r"limit_val_batches .*\b0\b.* > 0"),
    (["+trainer.check_val_every_n_epoch=20"], r"every_n_epoch .*\b20\b.*max_epochs"),
    (["trainer.precision=16-mixed"], r"trainer\.precision .*\b16-mixed\b.*precision=bf16-mixed"),
    (["+trainer.profiler=simpel"], r"lightning\.Trainer .*profiler.*simple"),
    (["+trainer.limit_train_batches=1.5"], r"lightning\.Trainer .*\b1\.5\b.*limit_train_batches"),
    (["+trainer.limit_train_batch=10"], r"limit_train_batch\b.*trainer\.limit_train_batches"),
    (["+trainer.callbacks=[]"], r"trainer\.callbacks .*\+callbacks\.NAME\._target_="),
    (["+trainer.logger=false"], r"trainer\.logger .*logger=none"),
    (["+trainer.plugins=[]"], r"trainer\.plugins .*trainer\.precision"),
    (["+trainer.default_root_dir=x"], r"trainer\.default_root_dir .*\boutputs\b"),
    (["+trainer.enable_checkpointing=false"], r"enable_checkpointing .*callbacks\.best=null"),
    (["+lr_multiplyer=2"], r"lr_multiplyer\b.*lr_multiplier\b"),
    (["+module.label_smothing=0.1"], r"module\.label_smothing\b.*module\.label_smoothing"),
    (["+scheduler.gamma=0.1"], r"scheduler\.gamma\b.* name$"),
    (["+trainer.foo=1"], r"trainer\.foo\b(?!.*\bcallbacks\b).*\blimit_val_batches\b"),
    (["+model._foo_=1"], r"model\._foo_\b.* _convert_, .*_target_$"),
    (
        ["scheduler=cosine", "+scheduler.final_facto=0"],
        r"scheduler\.final_facto\b.*scheduler\.final_factor",
    ),
    (["+callbacks.best.monitr=x"], r"callbacks\.best\.monitr\b.*callbacks\.best\.monitor"),
    (["logger=csv", "+logger.csv.nam=x"], r"logger\.csv\.nam\b.*logger\.csv\.name"),
    (["logger=tensorboard", "+logger.tensorboard.flush_sec=1"], r"flush_sec\b.*flush_secs"),
    (["callbacks.figures=true"], r"callbacks\.figures .*\btrue\b.*callbacks=default.*null"),
    (["compile=graph"], r"compile .*\bgraph\b.* true.*false"),
    (["lean_loop=1"], r"lean_loop .*\b1\b.* true.*false"),
    (["~optimizer", "run_name=r"], r"optimizer .*\bnull\b.*optimizer=adam"),
    (
        ["scheduler._target_=torch.optim.lr_scheduler.StepLR"],
        r"StepLR .*step_size",
    ),
    (["+trainer.num_nodes=2"], r"trainer\.num_nodes .*\b2\b.*trainer\.strategy=ddp"),
    (["+trainer.fast_dev_run=true"], r"fast_dev_run .*[Tt]rue\b.*debug=fast_dev_run"),
    (["+trainer.min_epochs=20"], r"trainer\.min_epochs .*\b20\b.*trainer\.max_epochs.*\b10\b"),
    (["+trainer.min_steps=9", "trainer.max_steps=8"], r"min_steps .*\b9\b.*max_steps.*\b8\b"),
    (["trainer.gradient_clip_algorithm=value"], r"algorithm .*\bvalue\b.*gradient_clip_val"),
    (
        ["scheduler=plateau", "+trainer.check_val_every_n_epoch=2"],
        r"every_n_epoch .*\b2\b.*=plateau .*\b1\b",
    ),
    (
        ["scheduler=plateau", "+trainer.check_val_every_n_epoch=null"],
        r"every_n_epoch .*\bnull\b.*=plateau .*\b1\b",
    ),
    (["num_replicas=2", "+trainer.check_val_every_n_epoch=null"], r"=2 .*every_n_epoch=null"),
    (["+trainer.sync_batchnorm=true"], r"trainer\.sync_batchnorm .*trainer=ddp"),
    (["callbacks.best.dirpath=elsewhere"], r"callbacks\.best\.dirpath .*\belsewhere\b.*best\.ckpt"),
    (["callbacks.best.enable_version_counter=true"], r"version_counter .*[Tt]rue\b.*best\.ckpt"),
    (["+callbacks.best.every_n_train_steps=5"], r"best\.every_n_train_steps .*\b5\b.*best\.ckpt"),
    (
        ["callbacks=early_stopping", "callbacks.early_stopping.mode=most"],
        r"callbacks\.early_stopping\.mode .*\bmost\b.*val/loss .*\bmin\b",
    ),
    (
        ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"],
        r"callbacks\.stop\.monitor .*EarlyStopping",
    ),
    (
        ["+callbacks.often._target_=lightning.pytorch.callbacks.ModelCheckpoint",
         "+callbacks.often.every_n_epochs=-1"],
        r"callbacks\.often .*every_n_epochs=-1",
    ),
    (["optimizer.fused=false", "+optimizer.capturable=true"], r"capturable .*\btrue\b.* false"),
    (["optimizer=rprop", "optimizer.step_sizes=[1,0.1]"], r"optimizer\.step_sizes .*\[1, 0\.1\]"),
    (["model.batch_norm=maybe"], r"model\.batch_norm .*\bmaybe\b.* true.*false"),
    (["data.augment.rotation_degrees=true"], r"rotation_degrees .*\btrue\b.* number\b"),
    (["num_replicas=2", "callbacks.best=null"], r"num_replicas=2 .*callbacks\.best=null"),
    (
        ["model=mlp_numpy", "module._target_=lightning.LightningModule",
         "~module.label_smoothing", "~module.decay_norm_and_bias"],
        r"model=mlp_numpy .*module\._target_ .*ImageClassifier",
    ),
    (["+model._convrt_=all"], r"model\._convrt_.*model\._convert_"),
    (["trainer.devices=2"], r"trainer\.devices .*\b2\b.*trainer\.strategy=ddp"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), PROBLEMS, ids=lambda v: str(v)[:50])
def test_contradiction_is_named(overrides, message, make_config):
    with pytest.raises(ConfigError, match=message) as refused:
        validate_config(make_config(*overrides))
    count, *problems = str(refused.value).split("\n  - ")
    assert (count.split().count("1"), len(problems)) == (1, 1)


def test_unknown_options_are_not_suggested_for_each_other(make_config):
    with pytest.raises(ConfigError) as refused:
        validate_config(make_config("+optimizer.zzz=1", "+optimizer.zzzz=1"))
    for problem in str(refused.value).split("\n  - ")[1:]:
        assert re.search(r"optimizer\.zzzz?: .* betas, ", problem)
        assert problem.count("zzz") == 1


def test_gpu_that_is_not_there_is_named(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator .*\bgpu\b.*trainer=auto"):
        validate_config(make_config("trainer=gpu"))


def test_graphs_without_a_gpu_of_its_own_are_refused(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("optlab.training.validate._trainer_errors", lambda config: [])
    graphs = ("cuda_graphs=true", "trainer.accelerator=gpu")
    validate_config(make_config(*graphs))
    for without in ("trainer.accelerator=cpu", "trainer.strategy=ddp"):
        with pytest.raises(ConfigError, match=r"cuda_graphs=true .*cuda_graphs=false"):
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
    with pytest.raises(ConfigError, match=r"\b5 problems") as refused:
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
            r"scheduler\.warmup_steps .*\b500\b.*\b21\b",
        ),
        (["scheduler=step", "scheduler.gamma=2"], r"scheduler\.gamma .*\b2\b.* \(0, 1\]"),
        (["data.batch_size=0"], r"data\.batch_size .*\b0\b.* >= 1"),
        (["data.num_folds=5", "data.fold=5"], r"data\.fold .*\b5\b"),
        (["data.val_fraction=1.5"], r"data\.val_fraction .*\b1\.5\b"),
        (["model.dropout=1.5"], r"model\.dropout .*\b1\.5\b"),
        (["model.activation=rleu"], r"model\.activation .*\brleu\b(?s:.*)hint: .*\brelu\b"),
        (["+data.augment.flip=true"], r"data\.augment\.flip\b"),
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
    with pytest.raises(ValueError, match=message):
        run(make_config(*overrides))


def test_gpu_that_emulates_bf16_is_told(make_config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("optlab.training.validate._trainer_errors", lambda config: [])
    config = make_config("trainer=gpu")
    for supported in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **options: supported)  # noqa: B023
        if supported:
            validate_config(config)
        else:
            with pytest.raises(ValueError, match=r"trainer\.precision .*bf16-mixed.*32-true"):
                validate_config(config)
