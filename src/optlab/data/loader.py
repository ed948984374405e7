"""Loaders over images that already lie on the device: no workers, no per-image Python.

The training loader prepares several batches at once (a chunk: one gather, one normalisation, one
augmentation) and hands them out as a list, because the overhead of a call is most of the work of
a small batch. How an epoch is cut into chunks changes no number.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from optlab.data.augment import Augmentation, Draws
from optlab.data.device_images import DeviceImages
from optlab.data.seeds import derive_seed


class Batch(NamedTuple):
    """One step's images on this rank.

    With replicas, images are (R, B, C, H, W) and labels (R, B).
    """

    images: Tensor  # float32 (B, C, H, W), normalised
    labels: Tensor  # int64 (B,)
    global_size: int  # images of this step over all ranks; B without DDP (per replica)


class TrainLoader:
    """Shuffled, augmented epochs as chunks: lists of at most `steps_per_call` batches.

    Order and augmentation are a pure function of (seed, epoch). The last batch is kept, shorter.
    Rank r of W takes images[r::W] of each global batch; together the ranks see what one process
    alone would see. A short last batch can leave a rank none of its images (batch of size 0).

    Args:
        data: the train part.
        indices: int64, the images of `data` that are trained on.
        batch_size: images of a batch, over all ranks.
        seeds: one seed, or with `replicas` one per replica.
        replicas: yield images (R, B, C, H, W), row r equal to what seeds[r] alone yields.
        get_epoch: number of the epoch that an iteration starts, asked at its first batch.
        augmentation: None for none.
        steps_per_call: most batches in a chunk.
        rank: this process among `world_size`.
        world_size: processes that train together.
    """

    def __init__(
        self,
        data: DeviceImages,
        indices: Tensor,
        *,
        batch_size: int,
        seeds: Sequence[int],
        get_epoch: Callable[[], int],
        replicas: bool = False,
        augmentation: Augmentation | None = None,
        steps_per_call: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        assert replicas or len(seeds) == 1
        self._data = data
        self._indices = indices.to(data.labels.device)
        self._seeds = tuple(seeds)
        self._replicas = replicas
        self._get_epoch = get_epoch
        self._augmentation = augmentation
        self._steps_per_call = steps_per_call

        num_images, num_seeds = len(indices), len(seeds)
        full_steps, num_last = divmod(num_images, batch_size)
        rank_share = len(range(rank, batch_size, world_size))
        last_share = len(range(rank, num_last, world_size))
        self._sizes = [num_seeds * rank_share] * full_steps  # rows of each step, replicas included
        self._global_sizes = [batch_size] * full_steps
        if num_last:
            self._sizes.append(num_seeds * last_share)
            self._global_sizes.append(num_last)
        self.num_steps = len(self._sizes)
        self._full_rows = num_seeds * rank_share

        # Rows of an epoch are kept by (step, replica, position); this finds them in the epoch as
        # drawn, by (replica, position). None where the two are the same.
        self._arrangement: Tensor | None = None
        if num_seeds > 1 or world_size > 1:
            rows = torch.arange(num_seeds * num_images).view(num_seeds, num_images)
            full = rows[:, : full_steps * batch_size].view(num_seeds, full_steps, batch_size)
            full = full[:, :, rank::world_size].permute(1, 0, 2)  # (steps, R, share)
            last = rows[:, full_steps * batch_size :][:, rank::world_size]  # (R, last share)
            self._arrangement = torch.cat([full.reshape(-1), last.reshape(-1)])

    def __len__(self) -> int:
        """Chunks of an epoch; its optimizer steps are `num_steps`."""
        return -(-self.num_steps // self._steps_per_call)

    def __iter__(self) -> Iterator[list[Batch]]:
        # A generator: nothing happens, and no epoch is asked for, before the first chunk is.
        index, draws = self._epoch(self._get_epoch())
        data, rows_per_chunk = self._data, self._full_rows * self._steps_per_call
        for chunk in range(len(self)):
            start = chunk * rows_per_chunk
            rows = slice(start, start + rows_per_chunk)
            taken = index[rows]
            pixels = data.take(taken)
            if self._augmentation is not None:
                pixels = self._augmentation.apply(pixels, draws.select(rows), data.mean_pixel)
            step = chunk * self._steps_per_call
            yield self._cut(
                data.normalise(pixels),
                data.labels.index_select(0, taken),
                slice(step, step + self._steps_per_call),
            )

    def _epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        """Index into the train part and augmentation draws of this rank's rows, on the device."""
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
        if self._arrangement is not None:
            order, drawn = order[self._arrangement], drawn.select(self._arrangement)
        return self._indices.index_select(0, order.to(device)), drawn.to(device)

    def _cut(self, images: Tensor, labels: Tensor, steps: slice) -> list[Batch]:
        sizes = self._sizes[steps]
        parts = zip(
            images.split(sizes), labels.split(sizes), self._global_sizes[steps], strict=True
        )
        if not self._replicas:
            return [Batch(*part) for part in parts]
        num_seeds = len(self._seeds)
        return [
            Batch(
                images.unflatten(0, (num_seeds, len(labels) // num_seeds)),
                labels.view(num_seeds, len(labels) // num_seeds),
                global_size,
            )
            for images, labels, global_size in parts
        ]


class EvalLoader:
    """Images in fixed order, unchanged but for normalisation, one Batch at a time.

    Args:
        data: the part that is read.
        indices: int64, which of its images; None for all.
        batch_size: images per batch, over all ranks.
        rank: this process among `world_size`; it takes images[rank::world_size] of each batch.
        world_size: processes that evaluate together.
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
            images = self._data.normalise(self._data.take(index))
            yield Batch(images, self._data.labels.index_select(0, index), len(batch))
