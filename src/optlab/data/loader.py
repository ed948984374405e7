"""Load batches of images that are stored on the device, without workers or per-image Python.

A batch is a pair (images, labels). The training loader prepares several batches at once (one
gather, one augmentation, one normalization) and yields them one by one, because for a small batch
most of the time of such a call is overhead. The number prepared at once does not affect results.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from optlab.data.augment import Augmentation, Draws
from optlab.data.device_images import DeviceImages
from optlab.seeds import derive_seed

NUM_PREPARED = 8  # batches prepared at once

Batch = tuple[Tensor, Tensor]  # float32 images (B, C, H, W), normalized; int64 labels (B,)


class TrainLoader:
    """Yield the shuffled and augmented training batches, one epoch per iteration.

    Order and augmentation are a pure function of (seed, epoch). The last batch may be smaller
    (`drop_last=False`). With W processes, rank r takes images[r::W] of each batch. If W does not
    divide the batch size, some ranks repeat an image, so that every rank has the same number of
    images and the same weight in DDP's mean gradient (`DistributedSampler` pads in the same way).

    Args:
        data: the official training images.
        indices: int64, the images of `data` that are trained on.
        batch_size: images per batch, over all ranks.
        seeds: one seed, or R seeds for replicas. Then images are (R, B, C, H, W) and labels (R, B),
            and row r equals the batch of a run with the single seed seeds[r].
        get_epoch: returns the current epoch; called at the first batch of an iteration.
        augmentation: random changes of the images, or None.
        rank: rank of this process, in [0, world_size).
        world_size: number of processes that train together.
    """

    def __init__(
        self,
        data: DeviceImages,
        indices: Tensor,
        *,
        batch_size: int,
        seeds: Sequence[int],
        get_epoch: Callable[[], int],
        augmentation: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._data = data
        self._indices = indices.to(data.labels.device)
        self._seeds = tuple(seeds)
        self._get_epoch = get_epoch
        self._augmentation = augmentation

        num_images, num_seeds = len(indices), len(seeds)
        num_full, num_last = divmod(num_images, batch_size)
        share = _share(batch_size, rank, world_size)
        last_share = _share(num_last, rank, world_size)
        self._full_rows = num_seeds * len(share)  # rows of a batch, those of all seeds together
        self._sizes = [self._full_rows] * num_full
        if num_last:
            self._sizes.append(num_seeds * len(last_share))

        # Orders are drawn seed by seed, (seed, position), but a batch has images of every seed:
        # (batch, seed, position). This is the permutation between the two; None if they are equal.
        self._batch_order: Tensor | None = None
        if num_seeds > 1 or world_size > 1:
            rows = torch.arange(num_seeds * num_images).view(num_seeds, num_images)
            full = rows[:, : num_full * batch_size].view(num_seeds, num_full, batch_size)
            full = full[:, :, share].permute(1, 0, 2)  # (batches, seeds, share)
            last = rows[:, num_full * batch_size :][:, last_share]  # (seeds, last share)
            self._batch_order = torch.cat([full.reshape(-1), last.reshape(-1)])

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: `_get_epoch` is called at the first batch, not when iter() is called
        index, draws = self._epoch(self._get_epoch())
        data, num_rows = self._data, self._full_rows * NUM_PREPARED
        for first in range(0, len(self), NUM_PREPARED):
            start = first * self._full_rows
            rows = slice(start, start + num_rows)
            taken = index[rows]
            pixels = data.take(taken)
            if self._augmentation is not None:
                pixels = self._augmentation.apply(pixels, draws.select(rows), data.mean_pixel)
            sizes = self._sizes[first : first + NUM_PREPARED]
            images, labels = data.normalize(pixels), data.labels.index_select(0, taken)
            for batch in zip(images.split(sizes), labels.split(sizes), strict=True):
                yield batch if len(self._seeds) == 1 else self._by_seed(*batch)

    def _epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        """Return the image indices of this rank and their random augmentations, on the device."""
        device, num_images = self._indices.device, len(self._indices)
        orders, draws = [], []
        for seed in self._seeds:
            generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
            orders.append(torch.randperm(num_images, generator=generator))
            if self._augmentation is not None:
                image_size = self._data.images.shape[-1]
                draws.append(
                    self._augmentation.draw(num_images, image_size, seed=seed, epoch=epoch)
                )
        order = torch.cat(orders)
        drawn = Draws(*(None if p[0] is None else torch.cat(p) for p in zip(*draws, strict=True)))
        if self._batch_order is not None:
            order, drawn = order[self._batch_order], drawn.select(self._batch_order)
        return self._indices.index_select(0, order.to(device)), drawn.to(device)

    def _by_seed(self, images: Tensor, labels: Tensor) -> Batch:
        num_seeds = len(self._seeds)
        return images.unflatten(0, (num_seeds, -1)), labels.view(num_seeds, -1)


def _share(size: int, rank: int, world_size: int) -> list[int]:
    """Return the positions of a batch that one rank takes; the same number for every rank."""
    if not size:
        return []
    padded = -(-size // world_size) * world_size
    return [position % size for position in range(rank, padded, world_size)]


class EvalLoader:
    """Yield batches (images, labels) in a fixed order, normalized but not augmented.

    Args:
        data: the official training or test images.
        indices: int64, which of them; None for all.
        batch_size: images per batch, over all ranks.
        rank: rank of this process, which takes images[rank::world_size] of each batch.
        world_size: number of processes that evaluate together.
    """

    def __init__(
        self,
        data: DeviceImages,
        indices: Tensor | None,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if indices is None:
            indices = torch.arange(len(data))
        self._data = data
        self._indices = indices.to(data.labels.device)
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._indices.split(self._batch_size):
            index = batch[self._rank :: self._world_size]
            images = self._data.normalize(self._data.take(index))
            yield images, self._data.labels.index_select(0, index)
