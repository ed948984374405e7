import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import InterpolationMode, affine

from optlab.data.augment import Augmentation, Draws, crop_and_flip, cut_out, warp

ALL = Augmentation(
    crop_padding=2,
    horizontal_flip=True,
    rotation_degrees=20.0,
    scale_range=0.2,
    translation_pixels=2.0,
    cutout_pixels=3,
)
FILL = torch.tensor([100.0, 101.0, 102.0]).view(3, 1, 1)


def noise(num_images=16, channels=3, size=10):
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, channels, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("fill", ["zero", "reflect"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_and_flip_equals_one_image_at_a_time(fill, dtype):
    images = noise().to(dtype)
    draws = Augmentation(crop_padding=3, horizontal_flip=True).draw(16, 10, seed=1, epoch=0)
    result = crop_and_flip(images, draws.crop, draws.flip, padding=3, fill=fill)
    mode = "constant" if fill == "zero" else "reflect"
    for image, (row, column), flip, got in zip(
        images, draws.crop.tolist(), draws.flip, result, strict=True
    ):
        padded = F.pad(image[None].float(), (3, 3, 3, 3), mode=mode)[0]
        expected = padded[:, row : row + 10, column : column + 10]
        expected = expected.flip(2) if flip else expected
        assert torch.equal(got.float(), expected)
    assert result.dtype == dtype


def test_crop_draws_reach_every_window_and_flip_half():
    augmentation = Augmentation(crop_padding=2, horizontal_flip=True)
    draws = augmentation.draw(4000, 10, seed=0, epoch=0)
    assert draws.crop.unique(dim=0).shape == (25, 2)
    assert (draws.crop.min(), draws.crop.max()) == (0, 4)
    assert draws.flip.float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("angle", "scale", "shift"), [(0, 1.0, (0, 0)), (90, 1.0, (0, 0)), (17, 1.3, (2, -1))]
)
def test_warp_equals_torchvision(angle, scale, shift):
    images = noise(4, 1, 12).float()
    radians = math.radians(angle)
    matrix = Augmentation(
        rotation_degrees=180.0, scale_range=0.5, translation_pixels=10.0
    )._affine_matrices(
        torch.tensor([[radians / math.pi, (scale - 1) / 0.5, shift[0] / 10, shift[1] / 10]])
    )
    expected = affine(
        images, angle, list(shift), scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    # 0.02 of 255 gray levels: torchvision multiplies its grid out in another order
    assert (warp(images, matrix.expand(4, 2, 3)) - expected).abs().max() < 0.02


def test_identity_warp_changes_nothing():
    images = noise().float()
    matrices = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(16, 2, 3)
    assert (warp(images, matrices) - images).abs().max() < 0.01


def test_affine_draws_stay_within_their_options():
    augmentation = Augmentation(rotation_degrees=30.0, scale_range=0.1, translation_pixels=3.0)
    matrices = augmentation.draw(5000, 28, seed=0, epoch=0).affine.double()
    scale = 1 / matrices[:, :, :2].det().sqrt()
    angle = torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0]).rad2deg()
    shift = -torch.linalg.solve(matrices[:, :, :2], matrices[:, :, 2])
    for values, low, high in ((scale, 0.9, 1.1), (angle, -30, 30), (shift, -3, 3)):
        margin = (high - low) / 100
        assert low - 1e-4 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-4


def test_cutout_fills_a_square_and_nothing_else():
    images = noise(3, 3, 8).float()
    centers = torch.tensor([[4, 4], [0, 0], [7, 3]])
    result = cut_out(images, centers, side=4, fill=FILL)
    changed = (result == FILL).all(dim=1)
    assert changed[0, 2:6, 2:6].all()
    assert changed[1, 0:2, 0:2].all()  # hangs over the border
    assert changed[2, 5:8, 1:5].all()
    assert changed.sum(dim=(1, 2)).tolist() == [16, 4, 12]
    assert torch.equal(
        result[~changed[:, None].expand_as(result)], images[~changed[:, None].expand_as(images)]
    )


def test_draws_are_a_function_of_seed_and_epoch():
    first = ALL.draw(50, 10, seed=0, epoch=0)
    assert all(
        torch.equal(a, b) for a, b in zip(first, ALL.draw(50, 10, seed=0, epoch=0), strict=True)
    )
    for other in (ALL.draw(50, 10, seed=1, epoch=0), ALL.draw(50, 10, seed=0, epoch=1)):
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_one_kind_of_change_moves_no_draw_of_another():
    alone = Augmentation(crop_padding=2).draw(50, 10, seed=0, epoch=0)
    assert torch.equal(alone.crop, ALL.draw(50, 10, seed=0, epoch=0).crop)
    assert alone.flip is alone.affine is alone.cutout is None


def test_applying_leaves_the_given_images_alone_and_works_per_image():
    images = noise()
    before = images.clone()
    draws = ALL.draw(16, 10, seed=0, epoch=0)
    whole = ALL.apply(images, draws, FILL)
    assert torch.equal(images, before)
    parts = [
        ALL.apply(images[s], draws.select(s), FILL)
        for s in (slice(0, 1), slice(1, 8), slice(8, 16))
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_without_draws_images_pass_unchanged():
    images = noise()
    assert Augmentation().apply(images, Draws(), FILL) is images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_padding": -1}, r"augment\.crop_padding .*-1\b.* >= 0"),
        ({"crop_padding": 1.5}, r"augment\.crop_padding .*\b1\.5\b"),
        ({"horizontal_flip": 0.5}, r"augment\.horizontal_flip .*\b0\.5\b.*\btrue\b.*\bfalse\b"),
        ({"crop_fill": "wrap"}, r"augment\.crop_fill .*\bwrap\b.*\bzero, reflect\b"),
        ({"crop_fill": "reflect"}, r"crop_fill=reflect .*data\.augment\.crop_padding\b"),
        ({"rotation_degrees": 181.0}, r"augment\.rotation_degrees .*\b181\.0\b"),
        ({"scale_range": 1.0}, r"augment\.scale_range .*\b1\.0\b.* \[0, 1\)"),
        ({"translation_pixels": -1.0}, r"augment\.translation_pixels .*-1\.0\b"),
        ({"cutout_pixels": -2}, r"augment\.cutout_pixels .*-2\b"),
    ],
)
def test_option_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


@pytest.mark.parametrize("option", ["crop_padding", "cutout_pixels", "translation_pixels"])
def test_change_as_large_as_the_image_is_refused(option):
    Augmentation(**{option: 27}).check_fits(28)
    with pytest.raises(ValueError, match=rf"{option} .*\b28\b.* < 28\b"):
        Augmentation(**{option: 28}).check_fits(28)
