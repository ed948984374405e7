import lightning as L
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class SmallDigits(L.LightningDataModule):
    """The 1,797 digits of scikit-learn at their own size, 8x8."""

    num_classes, in_channels, image_size = 10, 1, 8

    def __init__(self, batch_size=64, num_workers=0):
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, stage=None):
        digits = load_digits()
        images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (N, 1, 8, 8) in [0, 1]
        everything = TensorDataset(images, torch.from_numpy(digits.target))
        split = torch.Generator().manual_seed(0)  # the same for each seed of the run
        self.train, self.val, self.test = random_split(everything, [0.7, 0.1, 0.2], split)

    def train_dataloader(self):
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self):
        return self._loader(self.val)

    def test_dataloader(self):
        return self._loader(self.test)

    def _loader(self, images, shuffle=False):
        return DataLoader(
            images, self.batch_size, shuffle, num_workers=self.num_workers, drop_last=shuffle
        )
