"""The from-scratch reference: a network, its gradients and its optimizers in NumPy and SciPy only.

Read in this order: layers, activations, cost, network, optimizers, training, full_batch.
"""

from optlab.numpy_net.full_batch import FullBatchHistory, minimize_full_batch
from optlab.numpy_net.network import MLP
from optlab.numpy_net.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from optlab.numpy_net.training import minibatches, train

__all__ = [
    "MLP",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "FullBatchHistory",
    "Optimizer",
    "RMSprop",
    "minibatches",
    "minimize_full_batch",
    "train",
]
