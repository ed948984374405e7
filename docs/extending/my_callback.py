import torch
from lightning.pytorch.callbacks import Callback


class GradientNorm(Callback):
    """Log the norm of the whole gradient before it is clipped."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        pl_module.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))
