"""How many floating-point operations a model takes a picture, counted from its layers; and what the chip can do.

Counted are multiplications and additions, two for each weight and place, of convolutions, dense and locally
connected layers and matrix products: all but some per cent. A training step takes three times the forward pass:
forward, gradients of the values, gradients of the weights (that of the pictures, which nobody needs, is counted in).
"""

import math
import time

import keras
from keras import layers, ops

from trainer.models.goodfellow import LocallyConnected

_ROUNDS, _PRODUCTS = 5, 10


def forward_flops(model: keras.Model) -> int:
    """Returns the operations of one picture's forward pass.

    Raises:
      TypeError: a layer or operation that multiplies matrices is of a kind that cannot be counted here.
    """
    return 2 * sum(_products(operation) for operation in model.operations)


def step_flops(model: keras.Model) -> int:
    """Returns the operations that a training step takes for each of its pictures."""
    return 3 * forward_flops(model)


def _products(operation: keras.Operation) -> int:
    """Returns the multiplications of a layer or operation, each of which is added up."""
    if isinstance(operation, layers.Conv2D | layers.Dense):
        # The whole kernel at each place of the output: (batch, places ..., units).
        return math.prod(operation.kernel.shape) * math.prod(operation.output.shape[1:-1])
    if isinstance(operation, LocallyConnected):
        return math.prod(operation.kernel.shape)
    if isinstance(operation, layers.Dot):
        left, _ = operation.input
        return math.prod(operation.output.shape[1:]) * left.shape[operation.axes[0]]
    has_matrix = any(len(weight.shape) > 1 for weight in getattr(operation, "trainable_weights", ()))
    if has_matrix or type(operation).__name__ in ("Matmul", "Einsum"):
        raise TypeError(f"What multiplies matrices must be of a kind that is counted. Received: {operation}")
    return 0


def peak_flops(dtype: str, size: int) -> float:
    """Returns the operations a second of the fastest of several rounds of large matrix products.

    Args:
      dtype: of both matrices.
      size: their height and width.
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
