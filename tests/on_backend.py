"""What a backend of Keras computes; KERAS_BACKEND names it."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from trainer.input.augment import augment, uniforms_needed
from trainer.models import MODELS, build_model
from trainer.models.layers import TrainingStandardise
from trainer.run.config import AugmentConfig, TrainConfig

SIZE = 24
"""Of the pictures that the models answer: large enough for all layers."""
NAMES = [name for name in MODELS if name != "vgg"]
"""Architectures. `vgg` would take as long as all new ones, and has no layer that `compact` or `goodfellow` lacks."""
AUGMENT = {
    "plain": AugmentConfig(),
    "warped": AugmentConfig(zoom=0.2, stretch=0.2, rotate=10.0, shear=0.2),
    "shifted": AugmentConfig(translate=0.2),
}


def build(name: str) -> keras.Model:
    """Returns an architecture with weights that are the same on every backend."""
    model = build_model(name, (SIZE, SIZE, 3))
    rng = np.random.default_rng(0)

    def weight(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:  # biases, and scales and variances, which must be above 0
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        return rng.standard_normal(shape, np.float32) * np.float32(np.prod(shape[:-1]) ** -0.5)

    model.set_weights([weight(value.shape) for value in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, TrainingStandardise):
            layer.mean.assign(rng.uniform(100, 150, layer.mean.shape))
            layer.deviation.assign(rng.uniform(50, 90, layer.deviation.shape))
    return model


def outputs(name: str, model: keras.Model) -> dict[str, np.ndarray]:
    """Returns what an architecture answers."""
    answers = model(pictures(2, SIZE).astype(np.float32), training=False)
    return {f"{name}/{head}": ops.convert_to_numpy(value) for head, value in answers.items()}


def augmented(name: str) -> np.ndarray:
    """Returns pictures, of unequal height and width, as one of `AUGMENT` makes them."""
    uniform = np.random.default_rng(1).random((5, uniforms_needed(3)), np.float32)
    images = pictures(5, SIZE)[:, :, :-3]
    return ops.convert_to_numpy(augment(images, (SIZE - 6, SIZE - 6), AUGMENT[name], ops.convert_to_tensor(uniform)))


def pictures(count: int, size: int) -> np.ndarray:
    """Returns (count, size, size, 3) uint8, noise."""
    return np.random.default_rng(2).integers(0, 256, (count, size, size, 3), np.uint8)


def losses(records: Path, steps: int) -> np.ndarray:
    """Returns the loss of each of some steps on one batch, and last that of the weights' average."""
    from benchmarks.gpu.input import Source
    from benchmarks.gpu.step import make_step, mean_loss, put_on_device
    from trainer.fit.optimizer import averaged_weights, make_optimizer

    keras.utils.set_random_seed(0)
    config = TrainConfig(ema_decay=0.5, label_smoothing=0.05, augment=AUGMENT["warped"])
    model = build_model("compact", (54, 54, 3))
    optimizer = make_optimizer(config, config.learning_rate)
    step = make_step(model, optimizer, config)
    batch = put_on_device(Source((records,), 16, uniforms_needed(3), 0).read(0))
    found = [float(ops.convert_to_numpy(step(batch, 3e-3))) for _ in range(steps)]
    step.finish()
    with averaged_weights(model, optimizer):
        images = augment(batch["image"], (54, 54), config.augment, batch["uniform"])
        found.append(float(ops.convert_to_numpy(mean_loss(model(images, training=True), batch, config))))
    return np.array(found)


def counted_flops(model: keras.Model) -> np.ndarray:
    """Returns a picture's operations, forward and of a training step: by our count, then by PyTorch's."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.gpu.flops import forward_flops, step_flops

    images = torch.from_numpy(pictures(1, SIZE).astype(np.float32))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(images, training=False)
    with FlopCounterMode(display=False) as both:
        answers = model(images, training=False)
        (answers["length_logits"].sum() + (answers["digit_logits"] ** 2).sum()).backward()
    return np.array([forward_flops(model), step_flops(model), forward.get_total_flops(), both.get_total_flops()])


def main(records: Path, result: Path) -> int:
    """Computes everything for a dataset directory, writes it to the .npz file `result`, and runs `benchmarks.gpu`."""
    from benchmarks.gpu import __main__ as gpu

    found = {f"{name}/augmented": augmented(name) for name in AUGMENT}
    for name in NAMES:
        model = build(name)
        found |= outputs(name, model)
        if keras.backend.backend() == "torch":
            found[f"{name}/flops"] = counted_flops(model)
    found["losses"] = losses(records, 10)
    np.savez(result, **found)  # type: ignore[arg-type]  # no array is called allow_pickle
    gpu._MATRIX[False] = 64  # products of the default 1024 take as long as all steps
    options = ["--steps", "3", "--batch-size", "8", "--readers", "1", "--precision", "float32"]
    return gpu.main(["--data", str(records), str(records), "--backend", keras.backend.backend(), *options])
