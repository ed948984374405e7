"""scripts/lr_range.py: losses of all optimizers while their learning rates rise."""

import math
import re
import runpy
from pathlib import Path

import pandas as pd
import pytest
import torch

from optlab.training import build
from optlab.training.lr_range import lr_range

ROOT = Path(__file__).parent.parent
main = runpy.run_path(str(ROOT / "scripts" / "lr_range.py"))["main"]
SHORT = ["data=digits", "trainer=cpu", "--steps", "20"]


def test_all_optimizers_begin_at_the_same_loss_and_a_picture_is_written(tmp_path):
    assert main(["optimizer=sgd,adam", *SHORT, "--to", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "lr_range.csv")
    first = table.groupby("run", sort=False)["train_loss"].first()
    assert list(first.index) == ["sgd", "adam"]
    assert first["sgd"] == first["adam"] == pytest.approx(math.log(10), abs=0.3)
    rates = table["lr"][table["run"] == "sgd"]
    assert rates.iloc[0] == pytest.approx(1e-5)
    assert rates.iloc[-1] == pytest.approx(10, rel=0.5)
    assert (tmp_path / "lr_range.png").read_bytes().startswith(b"\x89PNG")


def test_null_and_a_base_are_read_as_train_py_does(tmp_path):
    arguments = ["optimizer=sam", "optimizer.base=sgd,adam", "callbacks=null", *SHORT]
    assert main([*arguments, "--to", str(tmp_path)]) == 0
    runs = pd.read_csv(tmp_path / "lr_range.csv")["run"]
    assert list(runs.unique()) == ["optimizer.base=sgd", "optimizer.base=adam"]


def test_first_loss_is_that_of_the_first_batch(make_config):
    config = make_config("optimizer=sgd")
    found = lr_range(config, 1e-5, 1.0, 10)
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    images, labels = next(iter(datamodule.train_dataloader()))
    expected = torch.nn.functional.cross_entropy(net(images), labels)
    assert found.loss[0] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("optimizer.lr=null", r"optimizer\.lr .*null.* > 0"),
        ("optimizer=adm", r"optimizer=adm\b.*\nhint: .*optimizer=adam\b"),
        ("sede=1", r"\bsede\b.*\nhint: .*\bseed\b"),
        ("optimizer.lr=-1", r"optimizer\.lr .*-1.* > 0"),
    ],
)
def test_wrong_overrides_are_refused_by_name(argument, message, tmp_path, capsys):
    assert main([argument, *SHORT, "--to", str(tmp_path)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_limits_out_of_order_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["optimizer=sgd", "--min-lr", "1", "--max-lr", "0.1"])
    assert re.search("error: --min-lr .*--max-lr", capsys.readouterr().err)
