"""What a record says of its data set."""

from omegaconf import OmegaConf

from optlab.data import ImageDataModule
from optlab.runs.record import DatasetFacts
from optlab.training.describe import dataset_facts

CONFIG = OmegaConf.create({"data": {"name": "mine"}})


def test_record_says_how_pictures_are_prepared_and_normalized():
    datamodule = ImageDataModule("digits", normalize="half")
    datamodule.setup()
    facts = dataset_facts(CONFIG, datamodule)
    assert facts.preparation == "digits"
    assert (facts.mean, facts.std) == ([0.5], [0.5])


def test_data_module_that_does_not_say_how_has_its_pictures_resized():
    class Mine:
        num_classes = 2

    facts = dataset_facts(CONFIG, Mine())
    assert facts == DatasetFacts(
        name="mine", title="mine", class_names=["0", "1"], preparation="resize"
    )


def test_fact_of_another_type_is_left_out_and_named(caplog):
    class Mine:
        num_classes = 2
        class_names = (3, 5)
        image_size = (28, 28)
        std = (0.5,)

    facts = dataset_facts(CONFIG, Mine())
    assert (facts.class_names, facts.image_size, facts.std) == (["3", "5"], None, [0.5])
    (message,) = [record.getMessage() for record in caplog.records]
    assert "Mine.image_size " in message
