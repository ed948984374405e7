"""A multilayer perceptron whose forward and backward passes are plain array expressions.

Shapes: B images in a batch, D pixels each (images arrive flattened), K classes.

Source of the backward pass: Rumelhart, Hinton and Williams, Nature 323 (1986), 533-536.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from optlab.numpy_net.activations import ACTIVATIONS
from optlab.numpy_net.cost import cross_entropy, cross_entropy_gradient
from optlab.numpy_net.layers import linear_backward, linear_forward, uniform_fan_in
from optlab.ranges import check_choice


class ForwardPass(NamedTuple):
    """The values of a forward pass that the backward pass needs."""

    layer_inputs: list[np.ndarray]  # (B, in) of each layer; the first is the images
    layer_outputs: list[np.ndarray]  # (B, out) of each layer, before the activation

    @property
    def logits(self) -> np.ndarray:
        """Outputs of the last layer, of shape (B, K); they get no activation."""
        return self.layer_outputs[-1]


class MLP:
    """A multilayer perceptron: affine layers with an activation between them, then logits.

    Args:
        sizes: D, the widths of the hidden layers, and K. Two sizes make a linear classifier.
        activation: relu, tanh, gelu or sigmoid.
        rng: draws the initial weights (uniform within 1 / sqrt(inputs), as `torch.nn.Linear`).
        weights: initial parameters instead of `rng`, laid out as `parameters`; copied.
        dtype: float32 or float64, of parameters and of all arithmetic.

    Attributes:
        parameters: weight (out, in) and bias (out,) of each layer in turn: the order and layout of
            `torch.nn.Linear` inside a `torch.nn.Sequential`, so weights can be copied. Optimizers
            update these arrays in place.

    Raises:
        ValueError: for an unknown activation, fewer than two sizes, a dtype that is neither of the
            two, both or neither of `rng` and `weights`, or weights whose shapes do not fit.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        *,
        rng: np.random.Generator | None = None,
        weights: Sequence[np.ndarray] | None = None,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"sizes is {list(sizes)}, but must list inputs, hidden widths and classes.\n\n"
                "hint: sizes=[784, 128, 10] has one hidden layer"
            )
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("dtype", np.dtype(dtype).name, ("float32", "float64"))
        if (rng is None) == (weights is None):
            raise ValueError(
                "exactly one of rng and weights must be given.\n\n"
                "hint: rng=np.random.default_rng(0) draws fresh weights"
            )
        self.sizes = tuple(sizes)
        self.activation = ACTIVATIONS[activation]
        self.dtype = np.dtype(dtype)
        if rng is not None:
            weights = [
                array
                for num_inputs, num_outputs in pairwise(self.sizes)
                for array in uniform_fan_in(num_inputs, num_outputs, rng, self.dtype)
            ]
        assert weights is not None  # for the type checker: one of the two was given
        self.parameters: list[np.ndarray] = []
        self.load(weights)

    def parameter_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes (out, in) and (out,) of each layer in turn."""
        pairs = pairwise(self.sizes)
        return [shape for num_in, num_out in pairs for shape in [(num_out, num_in), (num_out,)]]

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Copy arrays of the right shapes into `parameters`; after the first call, in place."""
        shapes = [np.shape(array) for array in weights]
        if shapes != self.parameter_shapes():
            raise ValueError(
                f"weights have the shapes {shapes}, but sizes={list(self.sizes)} asks for "
                f"{self.parameter_shapes()}.\n\nhint: weight (out, in) before bias (out,), "
                "layer by layer"
            )
        if not self.parameters:
            self.parameters = [np.empty(shape, self.dtype) for shape in shapes]
        for parameter, array in zip(self.parameters, weights, strict=True):
            parameter[...] = array  # in place: an optimizer holds the same arrays

    def forward(self, images: np.ndarray) -> ForwardPass:
        """Apply all layers in turn to images of shape (B, D), cast to the network's dtype."""
        layers = list(zip(self.parameters[0::2], self.parameters[1::2], strict=True))
        layer_inputs = [np.asarray(images, self.dtype)]  # (B, D)
        layer_outputs = []
        for index, (weight, bias) in enumerate(layers):
            z = linear_forward(layer_inputs[index], weight, bias)  # (B, out)
            layer_outputs.append(z)
            if index < len(layers) - 1:
                layer_inputs.append(self.activation.forward(z))  # (B, out), input of the next
        return ForwardPass(layer_inputs, layer_outputs)

    def backward(self, forward_pass: ForwardPass, grad_logits: np.ndarray) -> list[np.ndarray]:
        """Return the gradient of the cost for every parameter, laid out as `parameters`.

        Args:
            forward_pass: what `forward` returned for the batch.
            grad_logits: derivative of the cost with respect to the logits, of shape (B, K).
        """
        layer_inputs, layer_outputs = forward_pass
        weights = self.parameters[0::2]
        gradients: list[np.ndarray] = []
        grad_z = grad_logits  # (B, K)
        for index in reversed(range(len(weights))):
            layer = linear_backward(grad_z, layer_inputs[index], weights[index])
            gradients = [layer.weight, layer.bias, *gradients]
            if index > 0:
                # The input of this layer was a = f(z) of the layer below: chain rule with f'(z).
                z, a = layer_outputs[index - 1], layer_inputs[index]  # each (B, in)
                grad_z = layer.inputs * self.activation.derivative(z, a)  # (B, in)
        return gradients

    def loss_and_gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, list[np.ndarray]]:
        """Return the softmax cross-entropy of a batch, and its gradient for every parameter.

        Args:
            images: of shape (B, D).
            labels: classes 0..K-1, of shape (B,).
        """
        forward_pass = self.forward(images)
        grad_logits = cross_entropy_gradient(forward_pass.logits, labels)  # (B, K)
        return cross_entropy(forward_pass.logits, labels), self.backward(forward_pass, grad_logits)

    def loss(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Return the softmax cross-entropy without weight decay; images (B, D), labels (B,)."""
        return cross_entropy(self.forward(images).logits, labels)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the most probable class of each image; (B, D) -> (B,)."""
        return self.forward(images).logits.argmax(axis=1)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Return the fraction of images whose most probable class is their label."""
        return float((self.predict(images) == labels).mean())

    def flatten(self, arrays: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Return the parameters, or arrays of the same shapes, as one float64 vector for SciPy."""
        arrays = self.parameters if arrays is None else arrays
        return np.concatenate([array.ravel() for array in arrays]).astype(np.float64)

    def unflatten(self, vector: np.ndarray) -> list[np.ndarray]:
        """Invert `flatten`: return views of the vector, in the shapes of the parameters."""
        ends = np.cumsum([parameter.size for parameter in self.parameters])
        parts = np.split(vector, ends[:-1])
        return [
            part.reshape(parameter.shape)
            for part, parameter in zip(parts, self.parameters, strict=True)
        ]
