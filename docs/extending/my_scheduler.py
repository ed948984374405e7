from torch.optim.lr_scheduler import LambdaLR


def triangular(optimizer, *, total_steps, num_cycles=2, lowest=0.1):
    """The learning rate rises and falls in straight lines. Smith 2017, arXiv:1506.01186."""

    def factor(step):  # optimizer steps so far -> factor on the peak learning rate, in [lowest, 1]
        place = step * num_cycles / total_steps % 1.0  # within the cycle, in [0, 1)
        return lowest + (1 - lowest) * (1 - abs(2 * place - 1))

    return LambdaLR(optimizer, factor)
