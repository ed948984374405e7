"""Derivatives without calculus, to check a backward pass against."""

import numpy as np

from optlab.numpy_net.network import MLP


def central_differences(
    network: MLP, images: np.ndarray, labels: np.ndarray, *, width: float = 1e-6
) -> list[np.ndarray]:
    """(C(theta + width) - C(theta - width)) / (2 width), one parameter element at a time.

    Takes two forward passes per element, so it is for small networks. In float64 the error is near
    1e-9 where the cost is smooth; a relu whose input is within `width` of its kink adds more.

    Returns:
        Arrays laid out as `network.parameters`.
    """
    estimates = []
    for parameter in network.parameters:
        estimate = np.empty_like(parameter)
        for position in np.ndindex(parameter.shape):
            original = parameter[position]
            parameter[position] = original + width
            cost_above = network.loss(images, labels)
            parameter[position] = original - width
            cost_below = network.loss(images, labels)
            parameter[position] = original
            estimate[position] = (cost_above - cost_below) / (2 * width)
        estimates.append(estimate)
    return estimates


def largest_relative_error(gradients: list[np.ndarray], references: list[np.ndarray]) -> float:
    """Largest |difference| of any element over the largest |reference| of its array."""
    errors = [
        np.abs(gradient - reference).max() / max(np.abs(reference).max(), np.finfo(float).tiny)
        for gradient, reference in zip(gradients, references, strict=True)
    ]
    return float(max(errors))
