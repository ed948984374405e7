# ruff: noqa: F401
"""Modules that the fork server imports once for all runs of a study."""

from optlab.studies.fork_server import server_imports

with server_imports():
    import sklearn.metrics
    import sklearn.model_selection
    import torch.utils.tensorboard

    import optlab.training.figures
    import optlab.training.run
