"""ImageDataModule: load and split a data set, and make its batches on the training device."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from optlab.data.augment import Augmentation
from optlab.data.device_images import DeviceImages, device_images
from optlab.data.frozen_features import FrozenBody, feature_rows
from optlab.data.image_dataset import ImageDataset, Preparation
from optlab.data.loader import EvalLoader, TrainLoader
from optlab.data.normalize import Normalize, check_normalize, mean_and_std, scale_and_shift
from optlab.data.registry import load_dataset
from optlab.data.splits import split_train_part, stratified_subset
from optlab.ranges import check, check_choice


class ImageDataModule(L.LightningDataModule):
    """Train, validation and test images of one data set.

    After `setup()` it has: name, title, checksum, class_names, in_channels, image_size,
    num_classes, preparation, mean, std, num_train, num_val, num_test,
    train_indices and val_indices (int64, into the official train part). `mean` and `std` are those
    of `normalize`. Only `test_dataloader` and `test_pictures` give access to the test images.

    Args:
        name: one of optlab.data.DATASET_NAMES.
        root: folder of the official sets, or the image folder; None: $OPTLAB_DATA, else `data`.
        title: name of an image folder in tables; None for the name of the folder.
        image_size: side in pixels to resize the images of a folder to; None keeps their size.
        preparation: how to convert users' pictures for networks of an image folder; None resizes.
        normalize: `dataset` (mean and standard deviation of the set), `unit` (pixels / 255), `half`
            (mean and standard deviation 0.5), or `mean` and `std`, lists with one number per
            channel.
        batch_size: images per batch, over all devices.
        eval_batch_size: images per evaluation batch, over all devices; changes no result.
        val_fraction: share of the official train part held out; unused with folds.
        split_seed: chooses the images held out.
        num_folds: 0, or the number of folds.
        fold: the fold held out.
        train_fraction: share of the training images used, stratified and nested.
        augment: options of Augmentation; None or empty for none.
        seed: of batch order and augmentation.
    """

    name: str  # Lightning's own is optional

    def __init__(
        self,
        name: str,
        root: str | None = None,
        *,
        title: str | None = None,
        image_size: int | None = None,
        preparation: Preparation | None = None,
        normalize: Normalize = "dataset",
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        num_folds: int = 0,
        fold: int = 0,
        train_fraction: float = 1.0,
        augment: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check("data.batch_size", batch_size, ">= 1")
        check("data.eval_batch_size", eval_batch_size, ">= 1")
        self.name = name
        self.batch_size = batch_size
        self.augmentation = _make_augmentation(augment)
        self._root = root
        self._title = title
        self._resize_to = image_size
        self._preparation = preparation
        check_normalize(normalize)
        self._normalize = normalize
        self._eval_batch_size = eval_batch_size
        self._split_options: dict[str, Any] = {
            "val_fraction": val_fraction,
            "split_seed": split_seed,
            "num_folds": num_folds,
            "fold": fold,
            "train_fraction": train_fraction,
        }
        self.seeds: Sequence[int] = (seed,)  # several for replicas, which train together
        self._source: ImageDataset | None = None
        self._body: FrozenBody | None = None
        self._features: dict[str, DeviceImages] = {}  # by part

    def prepare_data(self) -> None:
        """Fetch and verify the files, on one process of a machine."""
        self._load()

    def setup(self, stage: str | None = None) -> None:
        """Read the set and split it; further calls do nothing."""
        if self._source is not None:
            return
        source = self._load()
        split = split_train_part(source.train_labels, **self._split_options)
        _, self.in_channels, _, self.image_size = source.train_images.shape
        if self.augmentation is not None:
            self.augmentation.check_fits(self.image_size)
        self.title = source.title
        self.checksum = source.checksum
        self.class_names = list(source.class_names)
        self.num_classes = len(source.class_names)
        self.preparation = source.preparation
        self.mean, self.std = mean_and_std(self._normalize, source)
        self.train_indices, self.val_indices = split.train, split.val
        self.num_train, self.num_val = len(split.train), len(split.val)
        self.num_test = len(source.test_labels)
        self._source = source

    def use_features(self, body: FrozenBody) -> None:
        """Make the loaders yield features (B, F) of a frozen body instead of images.

        Raises:
            ValueError: if images are augmented, so that their features change.
        """
        if self.augmentation is not None:
            raise ValueError(
                f"model.cache_features is true, but data.augment changes the images: "
                f"{self.augmentation}.\n\nhint: model.cache_features=false, or remove data.augment"
            )
        self._body = body

    def train_dataloader(self) -> TrainLoader:
        """Batches (images, labels); the epoch is the trainer's, or 0 without one.

        With `trainer.overfit_batches` every epoch is the first one: the same few batches again.
        """
        rank, world_size = self._rank_and_world_size()
        trainer: Any = self.trainer  # Lightning sets some of its attributes where mypy misses them
        is_fixed = trainer is None or trainer.overfit_batches > 0
        return TrainLoader(
            self._on_device("train"),
            self.train_indices,
            batch_size=self.batch_size,
            seeds=self.seeds,
            get_epoch=lambda: 0 if is_fixed else trainer.current_epoch,
            augmentation=self.augmentation,
            rank=rank,
            world_size=world_size,
        )

    def val_dataloader(self) -> EvalLoader:
        return self._eval_loader("train", self.val_indices)

    def test_dataloader(self) -> EvalLoader:
        return self._eval_loader("test", None)

    def test_pictures(self, indices: np.ndarray) -> np.ndarray:
        """Return unnormalized test images to display: uint8 (N, H, W), or (N, H, W, 3)."""
        pictures = self._loaded_source().test_images[torch.from_numpy(indices)]
        return np.asarray(pictures.permute(0, 2, 3, 1).squeeze(-1))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return pixels in 0..255, (N, C, H, W), as float32 that the network was trained on."""
        scale, shift = scale_and_shift(self.mean, self.std)
        return pixels * scale + shift

    def train_eval_dataloader(self, max_images: int | None = None) -> EvalLoader:
        """Training images in fixed order, not augmented; at most a stratified `max_images`."""
        indices = self.train_indices
        if max_images is not None and max_images < len(indices):
            labels = self._loaded_source().train_labels[indices]
            indices = indices[
                stratified_subset(labels, max_images, self._split_options["split_seed"])
            ]
        return self._eval_loader("train", indices)

    def _load(self) -> ImageDataset:
        return load_dataset(
            self.name,
            self._root,
            title=self._title,
            image_size=self._resize_to,
            preparation=self._preparation,
        )

    def _loaded_source(self) -> ImageDataset:
        assert self._source is not None, "call setup() first"
        return self._source

    def _on_device(self, part: str) -> DeviceImages:
        device = torch.device("cpu")
        if self.trainer is not None:
            device = self.trainer.strategy.root_device
        images = device_images(self._loaded_source(), part, device, self.mean, self.std)
        if self._body is None:
            return images
        if part not in self._features:
            used = torch.arange(self.num_test)
            if part == "train":
                used = torch.cat([self.train_indices, self.val_indices])
            key = f"{self.checksum} {part} {self.mean} {self.std}"
            self._features[part] = feature_rows(self._body, images, used, key)
        return self._features[part]

    def _rank_and_world_size(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _eval_loader(self, part: str, indices: Tensor | None) -> EvalLoader:
        rank, world_size = self._rank_and_world_size()
        return EvalLoader(
            self._on_device(part),
            indices,
            batch_size=self._eval_batch_size,
            rank=rank,
            world_size=world_size,
        )


def _make_augmentation(options: Mapping[str, Any] | None) -> Augmentation | None:
    """Return None if no option is set, so that the loader skips augmentation."""
    for option in options or {}:
        check_choice(
            "an option of data.augment", option, [each.name for each in fields(Augmentation)]
        )
    augmentation = Augmentation(**(options or {}))
    return None if augmentation == Augmentation() else augmentation
