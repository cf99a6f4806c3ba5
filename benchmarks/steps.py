"""Measures the cost of a training step: a bare one, ours under strategies, compiled by XLA, in mixed precision.

    python -m benchmarks.steps
    python -m benchmarks.steps --only bare,one-device,mirrored --batch-size 64 --steps 200

Each way trains its own model in this process, on all cores or the first GPU, on the same few batches in memory. The
ways take turns, step by step, so that other work on the machine slows all alike. Each step is waited for. The bare step
is what one would write without strategies: augmentation, loss, gradients, optimizer. The table shows medians of
processor time (of all cores, without GPUs) and of wall-clock time. The first step, which traces and compiles, is shown
separately.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.common.own_process import choose
from benchmarks.common.table import markdown, verdict
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels

WAYS = {
    "bare": "bare step",
    "one-device": "ours, one device",
    "mirrored": "ours, MirroredStrategy over one device",
    "jit": "ours, --jit-compile",
    "mixed": "ours, --precision mixed_bfloat16",
    "mixed-jit": "ours, both",
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "jit": {"jit_compile": True},
    "mixed": {"precision": "mixed_bfloat16"},
    "mixed-jit": {"jit_compile": True, "precision": "mixed_bfloat16"},
}
_HEAD = ("way", "first step s", "processor ms", "of bare", "clock ms", "of bare")
_SIZE = 54
"""Height and width of the images, pixels."""
_LABELS = Labels()
"""Numbers that the models predict."""
_KEPT = 8
"""Batches in memory, which are used again and again."""
_MAXIMUM_RATIO = 1.03
"""Maximum processor time of a step of ours, of a bare step's."""
Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Cost:
    """Costs of a step, seconds.

    Attributes:
      first: Wall-clock time of the first step.
      clock: Median wall-clock time of the others.
      processor: Median processor time of the others.
    """

    first: float
    clock: float
    processor: float


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--model", default="compact", help="architecture of the steps (default: compact)")
    parser.add_argument("--batch-size", type=int, default=16, help="examples per step (default: 16)")
    parser.add_argument("--steps", type=int, default=100, help="number of steps per way (default: 100)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and target, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.steps < 1 or args.batch_size < 1:
        parser.error(f"--steps and --batch-size must be at least 1. Received: {args.steps} and {args.batch_size}")
    try:
        rows = measure(choose(args.only, WAYS), args.model, args.batch_size, args.steps)
    except UserError as error:
        parser.error(str(error))
    print(*report(rows), sep="\n")
    return 0


def measure(names: Sequence[str], model: str, batch_size: int, steps: int) -> dict[str, Cost]:
    """Returns the cost of a step of each way."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from trainer.distribute.startup import start_tensorflow

    start_tensorflow()

    batches = _batches(batch_size)
    made = {name: _make_step(name, model, batch_size) for name in names}
    first = {name: _timed(step, batches[0])[0] for name, step in made.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for index in range(steps):
        # Each comes first in its turn, or the leftover work of one way would always slow the same other.
        turn = index % len(names)
        for name in (*names[turn:], *names[:turn]):
            times[name].append(_timed(made[name], batches[index % _KEPT]))
    return {name: Cost(first[name], *map(median, zip(*times[name], strict=True))) for name in names}


def _timed(step: Step, batch: Any) -> tuple[float, float]:
    """Runs a step and returns its wall-clock and processor time, seconds."""
    start, used = time.perf_counter(), time.process_time()
    step(batch).numpy()
    return time.perf_counter() - start, time.process_time() - used


def _batches(batch_size: int) -> list[dict[str, Any]]:
    """Returns batches of noise with the features of `training_dataset`'s."""
    import numpy as np
    import tensorflow as tf

    from trainer.input.augment import uniforms_needed

    rng = np.random.default_rng(0)
    arrays = (
        {
            "image": rng.integers(0, 256, (batch_size, _SIZE, _SIZE, 3), np.uint8),
            "length": rng.integers(1, _LABELS.max_length + 1, batch_size),
            "digits": rng.integers(0, _LABELS.pad, (batch_size, _LABELS.max_length)),
            "uniform": rng.random((batch_size, uniforms_needed(3)), np.float32),
        }
        for _ in range(_KEPT)
    )
    return [{name: tf.constant(value) for name, value in batch.items()} for batch in arrays]


def _make_step(way: str, model_name: str, batch_size: int) -> Step:
    import keras
    import tensorflow as tf

    from trainer.fit.optimizer import make_optimizer, make_schedule
    from trainer.fit.step import make_train_step
    from trainer.models import build_model, computing_in
    from trainer.run.config import TrainConfig

    config = TrainConfig(model=model_name, global_batch_size=batch_size, **_SETTINGS.get(way, {}))
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    name = devices[0].name
    strategy = tf.distribute.MirroredStrategy([name]) if way == "mirrored" else tf.distribute.OneDeviceStrategy(name)
    keras.utils.set_random_seed(0)
    with tf.distribute.get_strategy().scope() if way == "bare" else strategy.scope():
        with computing_in(config.precision):
            model = build_model(model_name, (_SIZE, _SIZE, 3), _LABELS)
        optimizer = make_optimizer(config, make_schedule(config, 1000))
        optimizer.build(model.trainable_variables)
    if way == "bare":
        return _bare(model, optimizer, config)
    return make_train_step(strategy, model, optimizer, config)


def _bare(model: Any, optimizer: Any, config: Any) -> Step:
    """Returns a step as one would write it for one device."""
    import tensorflow as tf

    from trainer.input.augment import augment
    from trainer.scoring.losses import number_loss

    @tf.function
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        images = augment(batch["image"], (_SIZE, _SIZE), config.augment, batch["uniform"])
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            logits = outputs.get("length_logits"), outputs["digit_logits"]
            losses = number_loss(*logits, batch["length"], batch["digits"])
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    made: Step = step
    return made


def report(rows: dict[str, Cost]) -> list[str]:
    """Returns the rows as a Markdown table, and the line of the target."""
    bare = rows.get("bare")

    def ratio(name: str, kind: str) -> str:
        return f"{getattr(rows[name], kind) / getattr(bare, kind):.3f}" if bare else "-"

    cells = (
        (
            WAYS[name],
            f"{cost.first:.1f}",
            f"{cost.processor * 1e3:.1f}",
            ratio(name, "processor"),
            f"{cost.clock * 1e3:.1f}",
            ratio(name, "clock"),
        )
        for name, cost in rows.items()
    )
    lines = [markdown(_HEAD, cells, words=1), ""]
    if bare and "mirrored" in rows:
        found = rows["mirrored"].processor / bare.processor
        text = f"MirroredStrategy over one device against a bare step: {found:.3f}, at most {_MAXIMUM_RATIO:g}"
        lines.append(verdict(found <= _MAXIMUM_RATIO, text))
    return lines


if __name__ == "__main__":
    sys.exit(main())
