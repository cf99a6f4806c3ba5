"""python -m trainer train: a model, trained on a dataset's records under MirroredStrategy."""

import argparse
import importlib.metadata
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.manifest import Manifest
from trainer.checkpoint import save_weights
from trainer.config import AugmentConfig, TrainConfig
from trainer.dataset import split_dataset, training_dataset
from trainer.loop import Forward, TrainStep, answer, make_forward, make_train_step
from trainer.metrics import score
from trainer.models import MODELS, build_model
from trainer.run_dir import (
    CONFIG,
    EVALUATION,
    HISTORY,
    PREDICTIONS,
    REPORT,
    TENSORBOARD,
    WEIGHTS,
    Run,
    model_input_shape,
)

EPILOG = """\
examples:
  the default model, on records that prepare made:
    python -m trainer train --data svhn-records --run-dir runs/first
  the network of Goodfellow et al. 2013:
    python -m trainer train --data svhn-records --model goodfellow --learning-rate 0.0005 --run-dir runs/goodfellow
  watch it: tensorboard --logdir runs

The split train is learned from; validation, where there is one, decides which weights are kept and when to stop.
Records of whole crops (prepare --jitters 0) are jittered here, anew in each epoch.
"""
EVALUATION_BATCH = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; their defaults are `TrainConfig`'s."""
    config = TrainConfig()
    parser.add_argument("--data", type=Path, required=True, help="dataset directory that prepare made")
    parser.add_argument("--run-dir", type=Path, required=True, help="folder for everything that training makes")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that stands in --run-dir")
    parser.add_argument("--model", choices=sorted(MODELS), default=config.model, help="architecture")
    parser.add_argument("--epochs", type=int, default=config.epochs, help="passes over the training split")
    parser.add_argument(
        "--global-batch-size", type=int, default=config.global_batch_size, help="examples a step, over all devices"
    )
    parser.add_argument("--learning-rate", type=float, default=config.learning_rate, help="at its highest")
    parser.add_argument("--warmup-epochs", type=float, default=config.warmup_epochs, help="in which it rises from 0")
    parser.add_argument("--weight-decay", type=float, default=config.weight_decay, help="AdamW's")
    parser.add_argument(
        "--patience", type=int, default=config.patience, help="epochs without a better validation score before a stop"
    )
    augment = config.augment
    parser.add_argument("--gain", type=float, default=augment.gain, help="how much contrast varies")
    parser.add_argument("--shift", type=float, default=augment.shift, help="how much brightness varies, of 255")
    parser.add_argument("--invert", type=float, default=augment.invert, help="share of pictures inverted")
    parser.add_argument("--seed", type=int, default=config.seed, help="of everything random")


def run(args: argparse.Namespace) -> int:
    """Trains; everything that can be wrong with the options is found before anything is written."""
    config = TrainConfig(
        model=args.model,
        epochs=args.epochs,
        global_batch_size=args.global_batch_size,
        learning_rate=args.learning_rate,
        warmup_epochs=args.warmup_epochs,
        weight_decay=args.weight_decay,
        patience=args.patience,
        augment=AugmentConfig(args.gain, args.shift, args.invert),
        seed=args.seed,
    )
    manifest = Manifest.load(args.data)
    manifest.split("train")
    parameters = build_model(config.model, model_input_shape(manifest)).count_params()
    _clear_run_dir(args.run_dir, args.overwrite)
    versions = {name: importlib.metadata.version(name) for name in ("streetdigits", "tensorflow", "keras")}
    run_ = Run.create(args.run_dir, config, args.data, parameters, versions)
    start = time.monotonic()
    best = train(run_, args.data)
    minutes = (time.monotonic() - start) / 60
    scores = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if name.startswith("validation"))
    print(f"Trained {config.model} in {minutes:.1f} min; best weights of epoch {best['epoch']}: {scores}")
    print(f"The run is in {args.run_dir}. Next: python -m trainer evaluate --run-dir {args.run_dir} --data {args.data}")
    return 0


def train(run: Run, data: Path) -> dict[str, Any]:
    """Trains a model, keeps its best weights in the run directory and returns the history's line of that epoch."""
    config = run.config
    keras.utils.set_random_seed(config.seed)
    manifest = Manifest.load(data)
    steps = math.ceil(manifest.split("train").examples / config.global_batch_size)
    strategy = tf.distribute.MirroredStrategy(_devices())
    schedule = _schedule(config, steps)
    with strategy.scope():
        model = build_model(config.model, run.image_shape)
        optimizer = _optimizer(config, schedule)
        optimizer.build(model.trainable_variables)
    step, forward = make_train_step(strategy, model, optimizer, config), make_forward(model)
    has_validation = "validation" in manifest.splits and manifest.splits["validation"].examples > 0
    best: dict[str, Any] = {}
    writer = tf.summary.create_file_writer(str(run.directory / TENSORBOARD))
    for epoch in range(config.epochs):
        batches = strategy.experimental_distribute_dataset(training_dataset(data, config, epoch))
        line = _train_epoch(step, batches, steps, f"epoch {epoch + 1}/{config.epochs}")
        line = {"epoch": epoch + 1, "step": (epoch + 1) * steps, **line}
        line["learning_rate"] = float(schedule(line["step"] - 1))
        if has_validation:
            line.update(_validate(forward, data))
        _log(run.directory, writer, line)
        if not best or _rank(line) > _rank(best):
            best = line
            save_weights(model, run.weights)
        if epoch + 1 - best["epoch"] >= config.patience:
            tqdm.write(f"No better validation score in {config.patience} epochs: stopped early.")
            break
    writer.close()
    return best


def _devices() -> list[str]:
    gpus = tf.config.list_logical_devices("GPU")
    return [device.name for device in gpus or tf.config.list_logical_devices("CPU")]


def _schedule(config: TrainConfig, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate by step: up along a line, then down to 0 along a cosine."""
    warmup = min(int(config.warmup_epochs * steps), config.epochs * steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=config.epochs * steps - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _optimizer(
    config: TrainConfig, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, global_clipnorm=5.0)
    # Biases and normalisation's scales have nothing to shrink towards.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _train_epoch(step: TrainStep, batches: Any, steps: int, title: str) -> dict[str, Any]:
    start = time.monotonic()
    iterator = iter(batches)
    totals = [0.0, 0.0, 0.0]
    with tqdm(total=steps, desc=title, unit=" steps", leave=False, mininterval=1.0) as bar:
        for _ in range(steps):
            totals = [total + float(value) for total, value in zip(totals, step(iterator), strict=True)]
            bar.set_postfix(loss=f"{totals[0] / totals[2]:.3f}", right=f"{totals[1] / totals[2]:.1%}", refresh=False)
            bar.update()
    loss, right, count = totals
    seconds = round(time.monotonic() - start, 2)
    return {"seconds": seconds, "train_loss": loss / count, "train_whole_number_accuracy": right / count}


def _validate(forward: Forward, data: Path) -> dict[str, float]:
    answers = answer(forward, split_dataset(data, "validation", EVALUATION_BATCH))
    scores = score(answers.numbers, answers.length, answers.digits)
    names = ("whole_number_accuracy", "digit_accuracy", "length_accuracy")
    return {"validation_loss": answers.loss, **{f"validation_{name}": scores[name] for name in names}}


def _rank(line: dict[str, Any]) -> tuple[float, ...]:
    """Returns what the best epoch has most of; without validation the last epoch is the best."""
    if "validation_loss" in line:
        return line["validation_whole_number_accuracy"], -line["validation_loss"]
    return (line["epoch"],)


def _log(directory: Path, writer: tf.summary.SummaryWriter, line: dict[str, Any]) -> None:
    with (directory / HISTORY).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    with writer.as_default(step=line["step"]):
        for name, value in line.items():
            if name not in ("epoch", "step"):
                tf.summary.scalar(name, value)
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in line.items() if "accuracy" in name or "loss" in name)
    tqdm.write(f"epoch {line['epoch']:>3}  {line['seconds']:.0f} s  {numbers}")


def _clear_run_dir(directory: Path, overwrite: bool) -> None:
    """Raises UserError where a run stands that is not to be overwritten."""
    if (directory / CONFIG).exists():
        if not overwrite:
            raise UserError(f"{directory} holds a run already: give --overwrite to replace it, or another --run-dir.")
        for name in (CONFIG, HISTORY, WEIGHTS, EVALUATION, PREDICTIONS, REPORT):
            (directory / name).unlink(missing_ok=True)
        shutil.rmtree(directory / TENSORBOARD, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
