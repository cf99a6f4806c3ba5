"""Counts a model's floating-point operations per image from its layers, and measures the peak of the chip.

The count covers the multiplications and additions of convolutions, dense and locally connected layers and matrix
products, two per weight and position: all but a few per cent. A training step takes three times the forward pass: the
forward pass, gradients of the values and gradients of the weights. (The count includes the gradient of the images,
which no step needs.)
"""

import math
import time

import keras
from keras import layers, ops

from trainer.models.goodfellow import LocallyConnected

_ROUNDS, _PRODUCTS = 5, 10


def forward_flops(model: keras.Model) -> int:
    """Returns the operations of the forward pass of one image.

    Raises:
      TypeError: A layer or operation that multiplies matrices is of an unknown kind.
    """
    return 2 * sum(_products(operation) for operation in model.operations)


def step_flops(model: keras.Model) -> int:
    """Returns the operations of a training step per image."""
    return 3 * forward_flops(model)


def _products(operation: keras.Operation) -> int:
    """Returns the multiplications of a layer or operation, each followed by an addition."""
    if isinstance(operation, layers.Conv2D | layers.Dense):
        # The full kernel at each position of the output: (batch, positions ..., units).
        return math.prod(operation.kernel.shape) * math.prod(operation.output.shape[1:-1])
    if isinstance(operation, LocallyConnected):
        return math.prod(operation.kernel.shape)
    if isinstance(operation, layers.Dot):
        left, _ = operation.input
        return math.prod(operation.output.shape[1:]) * left.shape[operation.axes[0]]
    has_matrix = any(len(weight.shape) > 1 for weight in getattr(operation, "trainable_weights", ()))
    if has_matrix or type(operation).__name__ in ("Matmul", "Einsum"):
        raise TypeError(
            f"A layer that multiplies matrices must be of a kind that can be counted. Received: {operation}"
        )
    return 0


def peak_flops(dtype: str, size: int) -> float:
    """Returns the operations per second of large matrix products, in the fastest of several rounds.

    Args:
      dtype: Type of both matrices.
      size: Height and width of both matrices.
    """
    left, right = (keras.random.normal((size, size), dtype=dtype, seed=seed) for seed in (1, 2))
    seconds = []
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        for _ in range(_PRODUCTS):
            product = ops.matmul(left, right)
        ops.convert_to_numpy(ops.cast(product[0, 0], "float32"))  # waits for all
        seconds.append(time.perf_counter() - start)
    # The first round compiles.
    return 2 * size**3 * _PRODUCTS / min(seconds[1:])
