"""What a record says of every run: versions of what numbers depend on."""

from optlab.training.environment import versions


def test_versions_name_what_numbers_depend_on():
    assert {"python", "torch", "lightning", "numpy"} <= versions().keys()


def test_versions_name_the_packages_that_classes_come_from():
    config = {
        "optimizer": {"_target_": "schedulefree.AdamWScheduleFree"},
        "callbacks": {"mine": {"_target_": "mine.Callback"}, "off": None},
        "trainer": {"plugins": [{"_target_": "sklearn.Thing"}]},
        "scheduler": {"_target_": None},
    }
    added = versions(config).keys() - versions().keys()
    assert added == {"schedulefree", "scikit-learn"}
