from torch import nn


class TinyConvNet(nn.Module):
    """Two convolutions, means over a 4x4 grid, one linear layer."""

    def __init__(self, in_channels, image_size, num_classes, *, width=16):
        super().__init__()
        if image_size < 8:
            raise ValueError(f"images have {image_size} pixels a side, but TinyConvNet needs 8")
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.classify = nn.Linear(2 * width * 4 * 4, num_classes)

    def forward(self, images):
        return self.classify(self.features(images))  # (B, C, H, W) -> (B, num_classes)
