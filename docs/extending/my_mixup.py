import torch
import torch.nn.functional as F

from optlab.training.classifier import ImageClassifier


class MixUp(ImageClassifier):
    """Train on weighted means of two images. Zhang et al. 2018, arXiv:1710.09412."""

    def __init__(self, net, optimizer, scheduler=None, *, num_classes, alpha=0.2):
        super().__init__(net, optimizer, scheduler, num_classes=num_classes)
        self.mixing = torch.distributions.Beta(alpha, alpha)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        share = self.mixing.sample().item()  # of the first image, in [0, 1]
        other = torch.randperm(len(labels), device=labels.device)
        logits = self(torch.lerp(images[other], images, share))
        loss = F.cross_entropy(logits, labels)
        loss_of_other = F.cross_entropy(logits, labels[other])
        return share * loss + (1 - share) * loss_of_other
