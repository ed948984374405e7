"""Config loader of studies: what runs share, and that each config is the one Hydra composes."""

import pickle
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from optlab.studies.compose import StudyConfigLoader

CONF = Path(__file__).parents[2] / "conf"
OF_STUDY = ["optimizer=sgd,adam", "outputs=elsewhere", "+hydra.job.env_set.A=b"]


@pytest.fixture(scope="module")
def loader():
    """The loader that a program gets from Hydra."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()


@pytest.fixture(scope="module")
def hydras(loader):
    return ConfigLoaderImpl(loader.get_search_path())


@pytest.fixture(scope="module")
def master(hydras):
    return hydras.load_configuration("train", OF_STUDY, RunMode.MULTIRUN)


@pytest.fixture
def merged(monkeypatch):
    """Counts how often Hydra merges files into a config."""
    merge, count = ConfigLoaderImpl._compose_config_from_defaults_list, Counter()

    def counted(*args, **kwargs):
        count["files"] += 1
        return merge(*args, **kwargs)

    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", counted)
    return count


def everything(config):
    """Values and types in their order, unresolved, and what may be written to."""
    flags = [OmegaConf.is_struct(config), OmegaConf.is_readonly(config.hydra)]
    return repr(OmegaConf.to_container(config)), flags, OmegaConf.get_cache(config)


def test_program_gets_the_loader_from_hydra(loader):
    assert type(loader) is StudyConfigLoader


@pytest.mark.parametrize(
    "run",
    [
        [],
        ["optimizer=sgd", "optimizer.momentum=0.5", "seed=1"],
        ["optimizer.lr=0.1", "seed=2", "optimizer=adam", "seed=3"],
        ["+trainer.limit_train_batches=10", "++seed=4", "~callbacks.figures", "++new.a=[1,{a: b}]"],
        ["~scheduler=null", "callbacks=full", "~optimizer.eps", "~seed=0"],
        ["callbacks=plateau_and_stopping", "callbacks.early_stopping.patience=3"],
        ["+callbacks.mine._target_=a.B", "+callbacks.mine.every=2", "callbacks.mine.every=3"],
        ["optimizer.betas=[0.8,0.99]", "optimizer.betas.0=0.7", "optimizer.lr=null"],
        ["data.augment={crop_padding: 2}", "model.hidden_sizes=[8]", "data={batch_size: 3}"],
        ["run_name=x-${optimizer.lr}", "title='two words, a=${seed}'", "study=b"],
        ["hydra.job.name=mine", "seed=2"],
        ["hydra/launcher=basic", "seed=2"],
        ["logger=[tensorboard,csv]", "logger.csv.name=mine"],
        ["data.seed=7", "data.root=a b", "data.seed=${split}", "outputs='a,b'"],
        ["experiment=cifar10_callbacks", "callbacks=early_stopping", "trainer.max_epochs=50"],
        ["+mine=${data}", "++mine.batch_size=3"],
        ["+mine=${hydra.job.config_name}", "++mine.a=3", "+mine.b=4"],
        ["+mine=${data.augment}", "+mine={new: 1}"],
    ],
    ids=str,
)  # fmt: skip
def test_run_has_the_config_that_hydra_composes(run, loader, hydras, master):
    expected = everything(hydras.load_sweep_config(master, run))
    for _ in range(2):  # as the first of its choices, and as a later one
        assert everything(loader.load_sweep_config(master, run)) == expected


@pytest.mark.parametrize(
    "run",
    [
        ["optimizer=adam", "optimizer.momentum=0.5"],
        ["optimizer=adamm"],
        ["+seed=1"],
        ["~nothing"],
        ["seed=1,2"],
        ["optimizer.betas.x=1"],
        ["data@elsewhere=digits"],
        ["+mine=${data}", "mine.batch_size=3"],
        ["+mine=${hydra.job.name}", "~mine=train"],  # Hydra has not filled in the name by then
    ],
    ids=str,
)
def test_run_is_refused_as_by_hydra(run, loader, hydras, master):
    refusals = []
    for each in (hydras, loader):
        with pytest.raises((ConfigCompositionException, ValueError)) as refused:
            each.load_sweep_config(master, run)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


def test_config_of_a_run_is_its_own(loader, master):
    first = loader.load_sweep_config(master, ["optimizer=sgd", "seed=1"])
    first.hydra.job.id, first.optimizer.lr = "changed", 5.0
    second = loader.load_sweep_config(master, ["optimizer=sgd", "seed=2"])
    assert (second.seed, second.optimizer.lr) == (2, 0.01)  # conf/optimizer/sgd.yaml
    assert OmegaConf.is_missing(second.hydra.job, "id")


def test_files_are_merged_once_for_each_choice_of_groups(hydras, master, merged):
    loader = StudyConfigLoader(hydras.get_search_path())
    for optimizer in ("sgd", "adam"):
        for seed in range(50):
            loader.load_sweep_config(master, [f"optimizer={optimizer}", f"seed={seed}"])
    assert merged["files"] == 2


def test_loader_goes_to_other_processes_without_the_configs_of_other_runs(hydras, master):
    loader = StudyConfigLoader(hydras.get_search_path())
    small = len(pickle.dumps(loader))
    loader.load_sweep_config(master, ["seed=1"])
    sent = pickle.dumps(loader)
    assert len(sent) == small
    assert pickle.loads(sent).load_sweep_config(master, ["seed=2"]).seed == 2


def test_runs_of_another_launcher_are_composed_where_its_classes_cannot_be_pickled(
    loader, hydras, monkeypatch
):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    master = hydras.load_configuration("train", ["hydra/launcher=joblib"], RunMode.MULTIRUN)
    # As in another process, where Hydra loads the module of a plugin a second time
    monkeypatch.delitem(sys.modules, "hydra_plugins.hydra_joblib_launcher.config")
    for seed in (1, 2):
        assert loader.load_sweep_config(master, [f"seed={seed}"]).seed == seed


def test_study_leaves_options_that_only_its_runs_have_to_them(loader, hydras):
    typed = ["optimizer=sgd,nesterov", "optimizer.momentum=0.8", "optimizer.lr=0.5", "+seed=1",
             "hydra.job.name=mine", "outputs=elsewhere", "~callbacks.early_stopping"]  # fmt: skip
    applicable = [typed[0], typed[2], *typed[4:6]]
    expected = hydras.load_configuration("train", applicable, RunMode.MULTIRUN)
    found = loader.load_configuration("train", typed, RunMode.MULTIRUN)
    task = [override for override in typed if override != "hydra.job.name=mine"]
    assert found.hydra.overrides.task == task
    assert found.hydra.job.override_dirname == ",".join(sorted(task))
    for config in (expected, found):
        config.hydra.overrides.task, config.hydra.job.override_dirname = [], ""
        OmegaConf.clear_cache(config)  # of the time
    assert everything(found) == everything(expected)


def test_single_run_and_hydras_own_options_are_refused_as_ever(loader):
    with pytest.raises(ConfigCompositionException, match=r"optimizer\.momentum"):
        loader.load_configuration("train", ["optimizer.momentum=0.8"], RunMode.RUN)
    with pytest.raises(ConfigCompositionException, match=r"hydra\.launcher\.processes"):
        loader.load_configuration("train", ["hydra.launcher.processes=1"], RunMode.MULTIRUN)


@pytest.fixture
def launched(monkeypatch):
    """The jobs that studies hand to the launcher, which starts none of them."""
    jobs = []

    def launch(job_overrides, *_, **__):
        jobs.extend(job_overrides)
        return []

    monkeypatch.setattr("optlab.studies.launcher.launch", launch)
    return jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "swept"),
    [
        (["optimizer=sgd,nesterov", "optimizer.momentum=0.8"], ["sgd", "nesterov"]),
        (["optimizer=glob(sgd*)", "optimizer.momentum=0.8"], ["sgd", "sgd_plain"]),
        (["optimizer=choice(sgd,nesterov)", "seed=range(1)", "~optimizer.dampening"],
         ["sgd", "nesterov"]),
        (["callbacks=early_stopping,plateau_and_stopping", "callbacks.early_stopping.patience=3"],
         ["early_stopping", "plateau_and_stopping"]),
        (["scheduler=cosine,warm_restarts", "scheduler.final_factor=0.5", "model=cnn,mlp"],
         ["cosine"] * 2 + ["warm_restarts"] * 2),
        (["hydra/sweeper=fair", "hydra.sweeper.trials=2", "plan=true",
          "optimizer=sgd,nesterov", "optimizer.momentum=0.8"], ["sgd"] * 2 + ["nesterov"] * 2),
        (["hydra/sweeper=fair", "hydra.sweeper.trials=2", "plan=true",
          "optimizer=glob(sgd*)"], ["sgd"] * 2 + ["sgd_plain"] * 2),
        (["experiment=mnist_optimizers", "optimizer=sgd,nesterov", "optimizer.momentum=0.8",
          "seed=0"], ["sgd", "nesterov"]),
    ],
    ids=str,
)  # fmt: skip
def test_option_that_all_swept_choices_have_can_be_set(typed, swept, study, launched):
    result = study(*typed, report=False)
    assert result.exit_code == 0, result
    group = next(each for each in typed if "," in each or "glob" in each).partition("=")[0]
    found = [o.partition("=")[2] for job in launched for o in job if o.startswith(f"{group}=")]
    assert found == swept
    (option,) = [each for each in typed if "." in each and not each.startswith("hydra.")] or [""]
    assert all(option in " ".join(job) for job in launched)


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["hydra/sweeper=basic", "hydra/sweeper=fair"])
def test_option_that_only_some_choices_have_is_refused(sweeper, study, launched):
    result = study(sweeper, "optimizer=adam,sgd", "optimizer.momentum=0.8")
    problem = r"optimizer\.momentum .*optimizer=sgd\b.*optimizer=adam\nhint: .*optimizer=adam\b"
    assert re.search(problem, str(result.exit_code)), result
    assert launched == []


def test_choices_of_groups_are_hydras_and_the_sources_are_copied_once(hydras, monkeypatch):
    loader, made = StudyConfigLoader(hydras.get_search_path()), Counter()
    create = ConfigLoaderImpl._parse_overrides_and_create_caching_repo

    def counted(self, *args):
        made[type(self)] += 1
        return create(self, *args)

    monkeypatch.setattr(ConfigLoaderImpl, "_parse_overrides_and_create_caching_repo", counted)
    for group in ("optimizer", "model", "hydra/sweeper", "no_such_group"):
        assert loader.get_group_options(group) == hydras.get_group_options(group)
    assert loader.list_groups("") == hydras.list_groups("")
    assert made == {StudyConfigLoader: 1, ConfigLoaderImpl: 5}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("+hydra.launchher.num_processes=1", r"hydra\.launchher\b.*\bhydra\.launcher\b"),
        ("+hydra.job.nmae=x", r"hydra\.job\.nmae\b.*\bhydra\.job\.name\b"),
    ],
)
def test_option_that_hydra_does_not_have_is_refused_also_with_a_plus(typed, message, loader):
    with pytest.raises(ValueError, match=message):
        loader.load_configuration("train", [typed], RunMode.RUN)


@pytest.mark.parametrize("typed", ["+hydra.job.env_set.A=b", "hydra.verbose=true", "seed=1"])
def test_option_of_hydra_is_taken(typed, loader):
    loader.load_configuration("train", [typed], RunMode.RUN)
