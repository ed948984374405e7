"""From gradient to step: parameter groups, schedules, and the optimizers that torch lacks."""

from optlab.optim.muon import Muon
from optlab.optim.param_groups import param_groups

__all__ = ["Muon", "param_groups"]
