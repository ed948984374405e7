from torch.optim.lr_scheduler import LambdaLR


def warmup_stable_decay(optimizer, *, total_steps, warmup_fraction=0.05, decay_fraction=0.2):
    """A linear rise, a plateau, a linear fall to zero. Hu et al. 2024, arXiv:2404.06395."""
    warmup_steps = warmup_fraction * total_steps
    decay_steps = decay_fraction * total_steps

    def factor(step):  # optimizer steps so far -> factor on the peak learning rate, in [0, 1]
        rise = (step + 1) / warmup_steps if warmup_steps else 1.0
        fall = (total_steps - step) / decay_steps if decay_steps else 1.0
        return min(rise, 1.0, fall)

    return LambdaLR(optimizer, factor)
