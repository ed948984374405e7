import lightning as L
import torch
import torch.nn.functional as F
from torch import nn


class AuxiliaryHead(L.LightningModule):
    """A network with a second classifier halfway, as GoogLeNet has: Szegedy et al. 2015.

    It brings its own network and its own Adam.
    """

    def __init__(self, num_classes, in_channels=1, width=16, lr=3e-3, auxiliary_weight=0.3):
        super().__init__()
        self.save_hyperparameters()
        self.lower = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.upper = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.classify = nn.Sequential(pool, nn.Linear(2 * width * 16, num_classes))
        self.auxiliary = nn.Sequential(pool, nn.Linear(width * 16, num_classes))

    def forward(self, images):
        return self.classify(self.upper(self.lower(images)))  # (B, C, H, W) -> (B, num_classes)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        lower = self.lower(images)
        loss = F.cross_entropy(self.classify(self.upper(lower)), labels)
        auxiliary_loss = F.cross_entropy(self.auxiliary(lower), labels)
        self.log("train/auxiliary_loss", auxiliary_loss)
        return loss + self.hparams.auxiliary_weight * auxiliary_loss

    def validation_step(self, batch, batch_idx):
        self._evaluate(batch, "val")

    def test_step(self, batch, batch_idx):
        self._evaluate(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)

    def _evaluate(self, batch, split):
        images, labels = batch
        logits = self(images)
        self.log(f"{split}/loss", F.cross_entropy(logits, labels))
        self.log(f"{split}/accuracy", (logits.argmax(dim=1) == labels).float().mean())
