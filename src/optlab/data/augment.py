"""Random changes to training images, drawn per image and applied to whole batches.

Parameters are drawn on the CPU for a whole epoch, one row per image in the epoch's order, from
seeds derived from (seed, epoch) and the kind of change. So they depend neither on the device nor on
the batch size, and enabling one kind does not change the draws of another.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from optlab.ranges import check, check_choice
from optlab.seeds import derive_seed


class Draws(NamedTuple):
    """Parameters of N images; None where that kind of change is off."""

    crop: Tensor | None = None  # int64 (N, 2): first row and column within the padded image
    flip: Tensor | None = None  # bool (N,)
    affine: Tensor | None = None  # float32 (N, 2, 3): output to input coordinates, in pixels
    cutout: Tensor | None = None  # int64 (N, 2): row and column of the square's center

    def select(self, index: Tensor | slice) -> "Draws":
        return Draws(*(part if part is None else part[index] for part in self))

    def to(self, device: torch.device) -> "Draws":
        return Draws(*(part if part is None else part.to(device) for part in self))


@dataclass(frozen=True)
class Augmentation:
    """The random changes of an image, and how large they are; with the defaults, none.

    Args:
        crop_padding: pixels added on every side before a crop of the original size; 0 is off.
        crop_fill: "zero" (black) or "reflect": what the added pixels show.
        horizontal_flip: mirror left and right with probability 1/2.
        rotation_degrees: rotation uniform in +- this angle.
        scale_range: magnification uniform in 1 +- this share, in [0, 1).
        translation_pixels: shift uniform in +- this many pixels (fractions too), each axis.
        cutout_pixels: side of a square around a random pixel, filled with the value that is
            normalized to 0, by default the mean color (DeVries and Taylor 2017, arXiv:1708.04552);
            0 is off.
    """

    crop_padding: int = 0
    crop_fill: str = "zero"
    horizontal_flip: bool = False
    rotation_degrees: float = 0.0
    scale_range: float = 0.0
    translation_pixels: float = 0.0
    cutout_pixels: int = 0

    def __post_init__(self) -> None:
        for option, kind in (
            ("crop_padding", int),
            ("cutout_pixels", int),
            ("horizontal_flip", bool),
        ):
            value = getattr(self, option)
            if type(value) is not kind:
                words = "a whole number" if kind is int else "true or false"
                raise ValueError(f"data.augment.{option} is {value}; it must be {words}")
        check("data.augment.crop_padding", self.crop_padding, ">= 0")
        check("data.augment.cutout_pixels", self.cutout_pixels, ">= 0")
        check("data.augment.rotation_degrees", self.rotation_degrees, "in [0, 180]")
        check("data.augment.scale_range", self.scale_range, "in [0, 1)")
        check("data.augment.translation_pixels", self.translation_pixels, ">= 0")
        check_choice("data.augment.crop_fill", self.crop_fill, ("zero", "reflect"))
        if self.crop_fill == "reflect" and not self.crop_padding:
            raise ValueError(
                "data.augment.crop_fill=reflect needs data.augment.crop_padding.\n\n"
                "hint: data.augment.crop_padding=4"
            )

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError if a change is too large for images of `image_size` pixels."""
        for option in ("crop_padding", "translation_pixels", "cutout_pixels"):
            check(f"data.augment.{option}", getattr(self, option), f"< {image_size}")

    def draw(self, num_images: int, image_size: int, *, seed: int, epoch: int) -> Draws:
        """Draw the parameters for the images of one epoch, in the order of the epoch."""

        def uniform(kind: str, *shape: int) -> Tensor:  # float32 in [0, 1), on the CPU
            generator = torch.Generator().manual_seed(
                derive_seed(seed, "augmentation", kind, epoch)
            )
            return torch.rand(num_images, *shape, generator=generator)

        crop = flip = affine = cutout = None
        if self.crop_padding:
            crop = (uniform("crop", 2) * (2 * self.crop_padding + 1)).long()
        if self.horizontal_flip:
            flip = uniform("flip") < 0.5
        if self.rotation_degrees or self.scale_range or self.translation_pixels:
            affine = self._affine_matrices(uniform("affine", 4) * 2 - 1)
        if self.cutout_pixels:
            cutout = (uniform("cutout", 2) * image_size).long()
        return Draws(crop, flip, affine, cutout)

    def _affine_matrices(self, symmetric: Tensor) -> Tensor:
        """(N, 2, 3) from uniform draws in [-1, 1) of angle, scale, x and y, shape (N, 4)."""
        angle, scale, shift_x, shift_y = symmetric.double().unbind(1)
        angle = angle * math.radians(self.rotation_degrees)
        scale = 1 + scale * self.scale_range
        shift_x, shift_y = shift_x * self.translation_pixels, shift_y * self.translation_pixels
        # The image is rotated and scaled about its center, then shifted; an output pixel p hence
        # shows the input at R(-angle) (p - shift) / scale.
        cos, sin = angle.cos() / scale, angle.sin() / scale
        row_x = torch.stack([cos, sin, -cos * shift_x - sin * shift_y], dim=1)
        row_y = torch.stack([-sin, cos, sin * shift_x - cos * shift_y], dim=1)
        return torch.stack([row_x, row_y], dim=1).float()

    def apply(self, images: Tensor, draws: Draws, fill: Tensor) -> Tensor:
        """Return the augmented images: uint8 after only crop and flip, else float32 in 0..255.

        Args:
            images: uint8 or float (N, C, H, W), any device.
            draws: rows for these N images, on their device.
            fill: float32 (C, 1, 1), pixel value that cutout writes.
        """
        if draws.crop is not None or draws.flip is not None:
            images = crop_and_flip(
                images, draws.crop, draws.flip, padding=self.crop_padding, fill=self.crop_fill
            )
        if draws.affine is not None:
            images = warp(images.float(), draws.affine)
        if draws.cutout is not None:
            images = cut_out(images.float(), draws.cutout, side=self.cutout_pixels, fill=fill)
        return images


def crop_and_flip(
    images: Tensor, crop: Tensor | None, flip: Tensor | None, *, padding: int, fill: str
) -> Tensor:
    """Crop each padded image to its own window, then mirror those chosen, in one gather.

    Args:
        images: (N, C, H, W), any type.
        crop: int64 (N, 2) in [0, 2 * padding]; None leaves the window in place.
        flip: bool (N,), or None.
        padding: pixels on every side.
        fill: "zero" or "reflect".
    """
    num_images, num_channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(num_images, height)
    columns = torch.arange(width, device=device).expand(num_images, width)
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    if crop is not None:
        rows, columns = rows + crop[:, :1], columns + crop[:, 1:]
        if fill == "reflect":  # found within the image itself: 0 and the last pixel are mirrors
            rows = height - 1 - (height - 1 - (rows - padding).abs()).abs()
            columns = width - 1 - (width - 1 - (columns - padding).abs()).abs()
        else:
            images = F.pad(images, (padding, padding, padding, padding))
    padded_width = images.shape[3]
    index = rows[:, :, None] * padded_width + columns[:, None, :]  # (N, H, W) into padded pixels
    index = index.flatten(1)[:, None, :].expand(-1, num_channels, -1)
    return images.flatten(2).gather(2, index).view(num_images, num_channels, height, width)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Bilinear affine warp, black outside.

    Args:
        images: float (N, C, H, W).
        matrices: float32 (N, 2, 3), from output to input pixels (x, y), origin at the center.
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) + (0.5 - width / 2)  # pixel centers
    y = torch.arange(height, device=images.device) + (0.5 - height / 2)
    coefficients = matrices.flatten(1)[:, :, None, None]  # (N, 6, 1, 1)
    xx, xy, x0, yx, yy, y0 = coefficients.unbind(1)  # each (N, 1, 1)
    # Elementwise, not F.affine_grid: its matrix product may round differently with batch size.
    grid_x = (xx * x[None, None, :] + xy * y[None, :, None] + x0) * (2 / width)
    grid_y = (yx * x[None, None, :] + yy * y[None, :, None] + y0) * (2 / height)
    grid = torch.stack([grid_x, grid_y], dim=3)  # (N, H, W, 2), -1 and 1 at the outer edges
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def cut_out(images: Tensor, centers: Tensor, *, side: int, fill: Tensor) -> Tensor:
    """Fill a square of `side` pixels around each center; it may extend beyond the border.

    Args:
        images: float (N, C, H, W).
        centers: int64 (N, 2), row and column.
        fill: float (C, 1, 1).
    """
    height, width = images.shape[2:]
    first = centers - side // 2
    row = torch.arange(height, device=images.device) - first[:, :1]  # (N, H), 0 at the first row
    column = torch.arange(width, device=images.device) - first[:, 1:]
    inside = ((row >= 0) & (row < side))[:, None, :, None] & ((column >= 0) & (column < side))[
        :, None, None, :
    ]
    return torch.where(inside, fill, images)
