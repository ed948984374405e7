import pytest
import torch
from torchvision import transforms

from optlab.data import ImageDataModule, load_dataset
from optlab.data.normalize import check_normalize, scale_and_shift


def make_module(**options):
    module = ImageDataModule("digits", **options)
    module.setup()
    return module


@pytest.mark.parametrize(
    ("normalize", "mean", "std"),
    [
        ("unit", 0.0, 1.0),
        ("half", 0.5, 0.5),
        ({"mean": [0.1], "std": [0.2]}, 0.1, 0.2),
    ],
)
def test_batches_are_those_of_torchvision_with_these_numbers(normalize, mean, std):
    module = make_module(normalize=normalize)
    assert (list(module.mean), list(module.std)) == ([mean], [std])
    images, _ = next(iter(module.test_dataloader()))
    expected = transforms.Normalize((mean,), (std,))(
        load_dataset("digits").test_images[: len(images)].float() / 255
    )
    assert torch.allclose(images, expected, atol=1e-6)


def test_default_is_the_set_itself():
    source = load_dataset("digits")
    assert (make_module().mean, make_module().std) == (source.mean, source.std)
    assert make_module().mean == make_module(normalize="dataset").mean


def test_two_normalizations_of_one_set_share_no_batch():
    half, unit = make_module(normalize="half"), make_module(normalize="unit")
    (of_half, _), (of_unit, _) = (next(iter(m.val_dataloader())) for m in (half, unit))
    assert torch.allclose(of_half, 2 * of_unit - 1, atol=1e-6)


@pytest.mark.parametrize(
    "normalize",
    [
        *("none", "", None, 0.5, [0.5], {"mean": [0.5]}, {"mean": 0.5, "std": 0.5}),
        *({"mean": [0.5], "std": [0.0]}, {"mean": [0.5], "std": [0.5, 0.5]}),
        *({"mean": [float("nan")], "std": [1.0]}, {"mean": ["a"], "std": [1.0]}),
        {"mean": [], "std": []},
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(normalize):
    with pytest.raises(ValueError, match=r"data\.normalize .*\bdataset, unit, half\b.*\bmean\b"):
        check_normalize(normalize)


def test_numbers_for_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"data\.normalize .*\b3\b.*\b1\b.*\n\nhint: "):
        make_module(normalize={"mean": [0.5] * 3, "std": [0.5] * 3})


def test_channel_without_contrast_becomes_zero():
    scale, shift = scale_and_shift([0.2, 0.5], [0.1, 0.0])
    pixels = torch.tensor([51.0, 127.5]).view(2, 1, 1)  # 0.2 * 255, 0.5 * 255
    assert torch.allclose(pixels * scale + shift, torch.zeros(2, 1, 1), atol=1e-6)
