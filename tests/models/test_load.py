from pathlib import Path

import pytest
import torch
from made_records import make_record
from torch import nn

from optlab.models import CNN, MLP, load_network
from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import ModelFacts, NoRecord, write_record

KWARGS = {"in_channels": 1, "image_size": 8, "num_classes": 10, "hidden_sizes": [6], "dropout": 0.5}


def write_run(run_dir: Path, net: nn.Module, target: str, kwargs: dict) -> Path:
    """A run's folder with what `load_network` reads of it."""
    (run_dir / "checkpoints").mkdir(parents=True)
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    for weights in ("best", "last"):
        torch.save({"state_dict": state}, run_dir / "checkpoints" / f"{weights}.ckpt")
    model = ModelFacts(name="made", target=target, kwargs=kwargs)
    write_record(run_dir, make_record(model=model))
    return run_dir


@pytest.fixture
def net() -> MLP:
    return MLP(**KWARGS)


@pytest.fixture
def run_dir(tmp_path: Path, net: MLP) -> Path:
    return write_run(tmp_path / "adam-seed0-1a2b3c4d", net, "optlab.models.MLP", KWARGS)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_loaded_network_predicts_as_the_saved_one(run_dir, net, weights):
    loaded = load_network(run_dir, weights)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(loaded(images), net.eval()(images))


def test_loaded_network_is_in_eval_mode(run_dir):
    loaded = load_network(str(run_dir))
    assert not any(module.training for module in loaded.modules())


def test_full_path_of_the_class_is_a_target_too(tmp_path, net):
    run_dir = write_run(tmp_path / "run", net, "optlab.models.mlp.MLP", KWARGS)
    assert isinstance(load_network(run_dir), MLP)


def test_snapshot_is_loaded_with_its_batch_statistics(tmp_path):
    kwargs = {"in_channels": 1, "image_size": 8, "num_classes": 10, "batch_norm": True}
    net = CNN(**kwargs)
    run_dir = write_run(tmp_path / "run", net, "optlab.models.CNN", kwargs)
    net(torch.rand(16, 1, 8, 8))  # moves the means and variances of batch normalization
    (run_dir / "snapshots").mkdir()
    halves = {
        f"net.{name}": tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in net.state_dict().items()
    }
    torch.save(halves, run_dir / "snapshots" / "step-000030.pt")
    images = torch.rand(3, 1, 8, 8)
    loaded = load_network(run_dir, 30)
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded(images), net.eval()(images), atol=2e-3, rtol=2e-3)
    with pytest.raises(
        ValueError, match=r"snapshots/step-000010\.pt\b.*\n\nhint: .*callbacks=snapshots"
    ):
        load_network(run_dir, 10)


def test_unknown_weights_are_refused(run_dir):
    with pytest.raises(ValueError, match=r"weights .*'first'.*\bbest, last\b"):
        load_network(run_dir, "first")


@pytest.mark.parametrize("lost", ["record.json", "no folder"])
def test_folder_without_a_record_is_refused(lost, run_dir):
    (run_dir / "record.json").unlink()
    with pytest.raises(NoRecord):
        load_network(run_dir if lost == "record.json" else run_dir / "nowhere")


def test_damaged_record_is_refused(run_dir):
    (run_dir / "record.json").write_text('{"model": {"target": 1}}')
    with pytest.raises(DamagedFile, match=r"record\.json"):
        load_network(run_dir)


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.nn.Linear", "optlab.models.load_network", "optlab.modelsx.MLP", "MLP"],
)
def test_target_that_is_no_network_of_ours_is_refused(tmp_path, net, target):
    run_dir = write_run(tmp_path / "run", net, target, KWARGS)
    with pytest.raises(ValueError, match=rf"'{target}'.*\n\nhint: .*\bCNN, MLP\b"):
        load_network(run_dir)


def test_arguments_of_another_version_are_refused(tmp_path, net):
    run_dir = write_run(tmp_path / "run", net, "optlab.models.MLP", {**KWARGS, "widht": 3})
    with pytest.raises(ValueError, match=r"record\.json .*\boptlab\.models\.MLP\b.*\bwidht\b"):
        load_network(run_dir)


def test_missing_checkpoint_names_the_status(run_dir):
    (run_dir / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(ValueError, match=r"checkpoints/best\.ckpt\b.*'finished'"):
        load_network(run_dir)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut"])
def test_damaged_checkpoint_is_refused(run_dir, content):
    (run_dir / "checkpoints" / "best.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.ckpt .*\bdamaged\b(?s:.*)hint: .*rerun=true$"):
        load_network(run_dir)


def test_cut_checkpoint_is_refused(run_dir):
    path = run_dir / "checkpoints" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"best\.ckpt .*\bdamaged\b(?s:.*)hint: .*rerun=true$"):
        load_network(run_dir)


def test_checkpoint_that_holds_code_is_refused(run_dir):
    torch.save({"state_dict": MLP(**KWARGS)}, run_dir / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match=r"best\.ckpt .*\boptlab\.models\.mlp\.MLP\b"):
        load_network(run_dir)


def test_checkpoint_without_state_is_refused(run_dir):
    torch.save({"epoch": 3}, run_dir / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match=r"best\.ckpt .*'state_dict'"):
        load_network(run_dir)


def test_checkpoint_of_another_network_is_refused(tmp_path):
    kwargs = {"in_channels": 1, "image_size": 8, "num_classes": 10}
    run_dir = write_run(tmp_path / "run", CNN(**kwargs), "optlab.models.MLP", kwargs)
    with pytest.raises(
        ValueError, match=r"(?s)best\.ckpt .*record\.json\b.*Missing key.*Unexpected key"
    ):
        load_network(run_dir)


def test_checkpoint_of_another_width_is_refused(tmp_path, net):
    run_dir = write_run(tmp_path / "run", net, "optlab.models.MLP", {**KWARGS, "hidden_sizes": [7]})
    with pytest.raises(ValueError, match=r"(?s)size mismatch for body\.0\.bias.*\[6\].*\[7\]"):
        load_network(run_dir)
