import torch
from torch.optim import SGD


class SAM(SGD):
    """Sharpness-aware minimization. Foret et al. 2021, arXiv:2010.01412, algorithm 1."""

    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.0, rho=0.05):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.rho = rho

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()  # makes the gradients
        groups = self.param_groups
        weights = [each for group in groups for each in group["params"] if each.grad is not None]
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights])
        moves = [self.rho * weight.grad / (norm + 1e-12) for weight in weights]
        for weight, move in zip(weights, moves, strict=True):
            weight.add_(move)
        with torch.enable_grad():
            closure()  # makes them again, where the loss is higher
        for weight, move in zip(weights, moves, strict=True):
            weight.sub_(move)
        super().step()
        return loss
