import numpy as np
import torch
from made_records import make_record

from optlab.data import load_dataset
from optlab.data.run_datamodule import load_run_datamodule
from optlab.runs.record import DatasetFacts


def test_drawn_digits_follow_those_of_the_set_and_the_test_part_stays():
    base, european = load_dataset("digits"), load_dataset("digits_european")
    number = len(base.train_labels)
    assert torch.equal(european.train_images[:number], base.train_images)
    assert torch.equal(european.train_labels[:number], base.train_labels)
    assert torch.equal(european.test_images, base.test_images)
    # 60 of each of the three forms
    assert european.train_labels[number:].bincount().tolist() == [0, 60, 0, 0, 60, 0, 0, 60]
    drawn = european.train_images[number:]
    assert len(np.unique(drawn.flatten(1).numpy(), axis=0)) == len(drawn)
    assert (european.mean, european.std) == (base.mean, base.std)
    assert "180 drawn" in european.title


def test_images_of_a_finished_run_are_found_again(tmp_path):
    name = "digits_european"
    dataset = DatasetFacts(name=name, checksum=load_dataset(name).checksum)
    record = make_record(config={"data": {"name": name}}, dataset=dataset)
    assert load_run_datamodule(tmp_path, record).num_train == 1455  # 90 % of 1,437 + 180
