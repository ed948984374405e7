import pytest

from optlab.data import load_dataset


def test_set_is_loaded_once_per_process():
    assert load_dataset("digits") is load_dataset("digits")


def test_unknown_set_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"data\.name .*\bmnits\b(?s:.*)hint: .*\bmnist\b"
    ) as error:
        load_dataset("mnits")
    assert "fashion_mnist" in str(error.value)


@pytest.mark.parametrize(
    ("option", "value"), [("title", "Mine"), ("image_size", 32), ("preparation", "mnist")]
)
def test_option_that_an_official_set_would_ignore_is_refused(option, value):
    with pytest.raises(ValueError, match=rf"data\.{option} .*\b{value}\b.*data=digits\b"):
        load_dataset("digits", **{option: value})


def test_image_folder_without_root_is_refused():
    with pytest.raises(
        ValueError, match=r"data=image_folder .*data\.root\b(?s:.*)hint: .*data\.root="
    ):
        load_dataset("image_folder")


def test_unknown_preparation_names_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"data\.preparation .*\bminst\b.*\bresize, .*\bmnist\b"):
        load_dataset("image_folder", tmp_path, preparation="minst")


def test_image_size_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.image_size .*\b0\b.* >= 1"):
        load_dataset("image_folder", tmp_path, image_size=0)
