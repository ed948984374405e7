"""Parameter groups, learning-rate schedules, and the optimizers that torch lacks."""

from optlab.optim.muon import Muon
from optlab.optim.param_groups import param_groups
from optlab.optim.wrappers import ASAM, SAM, Lookahead

__all__ = ["ASAM", "SAM", "Lookahead", "Muon", "param_groups"]
