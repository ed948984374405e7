"""The embedded digits: UCI's handwritten digits, included in scikit-learn.

1,797 images of 8x8 pixels with 17 gray levels, scaled to MNIST's 28x28 so that every network
accepts them. They need no download. The set has no official test part; a fixed stratified fifth
(360 images) is used, the same for every run and every seed.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998,
doi:10.24432/C50P49.
"""

import numpy as np
import torch
import torch.nn.functional as F

from optlab.data.image_dataset import ImageDataset, channel_statistics

NUM_TEST = 360
_SPLIT_SEED = 1998  # fixes the test part; changing it changes the data set


def load_digits() -> ImageDataset:
    from sklearn.datasets import load_digits as load_embedded
    from sklearn.model_selection import train_test_split

    embedded = load_embedded()
    small = torch.from_numpy(embedded.images).float().unsqueeze(1)  # (1797, 1, 8, 8), 0..16
    large = F.interpolate(small * (255 / 16), size=(28, 28), mode="bilinear", align_corners=False)
    images = large.round_().to(torch.uint8)
    labels = torch.from_numpy(embedded.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=_SPLIT_SEED
    )
    train_indices, test_indices = torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(test))
    train_images = images[train_indices]
    mean, std = channel_statistics(train_images)
    return ImageDataset(
        name="digits",
        title="UCI digits (embedded, 8x8 scaled to 28x28)",
        train_images=train_images,
        train_labels=labels[train_indices],
        test_images=images[test_indices],
        test_labels=labels[test_indices],
        class_names=tuple(str(digit) for digit in range(10)),
        mean=mean,
        std=std,
        preparation="digits",
    )
