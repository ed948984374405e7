# ruff: noqa: F401
"""What the fork server imports once, so that no run of a study has to."""

from optlab.studies.fork_server import server_imports

with server_imports():
    import sklearn.metrics
    import sklearn.model_selection
    import torch.utils.tensorboard

    import optlab.training.figures
    import optlab.training.run
