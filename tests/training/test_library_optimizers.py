"""Classes of pytorch_optimizer by YAML only: each trains as it should, or is refused with a reason.

None is accepted and trains something else. The contract of a class (what it needs of the gradients,
what it does with options) is what `check_optimizer` finds out by trying it.
"""

import inspect

import lightning as L
import pytest
import pytorch_optimizer
from omegaconf import OmegaConf
from torch.optim import Optimizer

from optlab.training.instantiate import instantiate_partial
from optlab.training.optimizer_trial import check_optimizer, take_steps
from optlab.training.option_values import ConfigError
from optlab.training.validate import validate_config

CLASSES = {
    name: made
    for name, made in inspect.getmembers(pytorch_optimizer, inspect.isclass)
    if issubclass(made, Optimizer) and made.__module__.startswith("pytorch_optimizer.optimizer")
}
USE_GRAPH = {"AdaHessian", "SophiaH"}
NEEDS = {"Ranger21": {"num_iterations": 100}}  # arguments without a default that a YAML can give
# Class -> a part of what it says when it is built: it wants an optimizer, a network, marked groups
NOT_BUILT = {
    **dict.fromkeys(("FriendlySAM", "LookSAM", "SAM"), "'base_optimizer'"),
    **{"BSAM": "'num_data'", "GSAM": "'base_optimizer'", "WSAM": "'base_optimizer'"},
    **dict.fromkeys(("Lookahead", "OrthoGrad", "ScheduleFreeWrapper", "TRAC"), "Optimizer"),
    **dict.fromkeys(("AdaLOMO", "AdamMini"), "named_parameters"),
    **{"LOMO": "parameters", "PCGrad": "defaults", "SafeFP16Optimizer": "param_groups"},
    **dict.fromkeys(("AdaGO", "AdaMuon", "DistributedMuon", "Muon"), "use_muon"),
    **dict.fromkeys(("MuonClip", "NorMuon"), "use_muon"),
    "DeMo": "einops",
}
# Class -> what a checkpoint cannot hold
NOT_SAVED = {
    "AdaShift": "grad_queue",
    "Conda": "projector",
    **dict.fromkeys(("SCION", "SCIONLight"), "norm_type"),
    "ScalableShampoo": "pre_conditioner",
}
ONLY_MATRICES = "SpectralSphere"  # says so at its first step
TRAINED = sorted({*CLASSES} - {*NOT_BUILT} - {*NOT_SAVED} - {ONLY_MATRICES})
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


def node(name, **options):
    return OmegaConf.create(
        {"_target_": f"pytorch_optimizer.{name}", "_partial_": True, "_convert_": "all"}
        | NEEDS.get(name, {})
        | options
    )


def test_classes_were_found():
    assert len(CLASSES) >= 130
    assert {*NOT_BUILT, *NOT_SAVED, ONLY_MATRICES} < {*CLASSES}


@pytest.mark.parametrize("name", sorted(NOT_BUILT))
def test_class_that_wants_more_than_parameters_is_refused_where_it_is_built(name, make_config):
    config = make_config()
    config.optimizer = {"name": "theirs", **node(name)}
    with pytest.raises(ConfigError, match=rf"\.{name} .*{NOT_BUILT[name]}"):
        validate_config(config)


@pytest.mark.parametrize("name", sorted(NOT_SAVED))
def test_class_whose_state_no_checkpoint_holds_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name}\b.*{NOT_SAVED[name]}(?s:.*)hint: .*self\.state"):
        check_optimizer(node(name), L.LightningModule())


def test_class_of_matrices_only_says_so():
    assert "2D" in str(take_steps(instantiate_partial(node(ONLY_MATRICES))).error)


@pytest.mark.parametrize("name", TRAINED)
def test_class_trains_and_resumes(name):
    create_graph = check_optimizer(node(name), L.LightningModule())
    assert create_graph == (name in USE_GRAPH)
    make = instantiate_partial(node(name))
    whole = take_steps(make, create_graph=create_graph)
    assert whole.error is None
    assert whole.equals(take_steps(make, create_graph=create_graph, resumes=True))


# Magma gives its options to another class, which refuses them
@pytest.mark.parametrize("name", sorted({*TRAINED} - {"Magma"}))
def test_misspelled_option_of_a_class_is_refused(name):
    with pytest.raises(ValueError, match=rf"\.{name} .*optimizer\.weight_decya\b"):
        check_optimizer(node(name, weight_decya=0.1), L.LightningModule())
