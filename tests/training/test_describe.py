"""What a record says of its data set."""

from omegaconf import OmegaConf

from optlab.data import ImageDataModule
from optlab.training.describe import dataset_facts

CONFIG = OmegaConf.create({"data": {"name": "mine"}})


def test_record_says_how_pictures_are_prepared_and_normalized():
    datamodule = ImageDataModule("digits", normalize="half")
    datamodule.setup()
    facts = dataset_facts(CONFIG, datamodule)
    assert facts["preparation"] == "digits"
    assert (list(facts["mean"]), list(facts["std"])) == ([0.5], [0.5])


def test_data_module_that_does_not_say_how_has_its_pictures_resized():
    class Mine:
        num_classes = 2

    facts = dataset_facts(CONFIG, Mine())
    assert (facts["preparation"], facts["mean"]) == ("resize", None)
