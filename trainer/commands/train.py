"""python -m trainer train: a model, trained on a dataset's records, on one host or several."""

import argparse
import importlib.metadata
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import keras
import tensorflow as tf

from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from trainer.distribute.cluster import Cluster
from trainer.distribute.strategy import HOST_LOST, Place, make_strategy
from trainer.fit.errors import HostLostError, host_errors
from trainer.fit.loop import Training
from trainer.fit.resume import check_run, has_checkpoint, open_run
from trainer.fit.signals import Stopped, StopRequest
from trainer.models import MODELS, build_model
from trainer.models.build import computing_in
from trainer.pretrained import run_directory
from trainer.run.config import DEVICES, KEEPS, PRECISIONS
from trainer.run.directory import Run, describe_run, model_input_shape
from trainer.run.settings import Settings, add_flags, defaults
from trainer.run.weights import start_from

EPILOG = """\
examples:
  the default model, on records that prepare made:
    python -m trainer train --data svhn-records --run-dir runs/first
  the network of Goodfellow et al. 2013:
    python -m trainer train --data svhn-records --model goodfellow --learning-rate 0.0005 --run-dir runs/goodfellow
  once more, as another run was trained:
    python -m trainer train --config runs/first/config.json --run-dir runs/second
  a model that has learned from drawn pictures first, and whose pictures are warped:
    python -m trainer train --data svhn-records --init runs/drawn --zoom 0.15 --rotate 8 --run-dir runs/third
  your own pictures, from the weights that come with the package, which learned from drawn numbers:
    python -m trainer train --data my-records --init pretrained --run-dir runs/fine
  watch it: tensorboard --logdir runs

The split train is learned from; validation, where there is one, decides which weights are kept and when to stop.
Records of whole crops (prepare --jitters 0) are jittered here, anew in each epoch.

Stopped, killed or out of power: the same command goes on from the last checkpoint, and ends with the same weights.
Several hosts: the same command on each, with TF_CONFIG set. Exit codes: 0 done; 1 something is wrong, as the line
says; 143 and 130 stopped by SIGTERM and SIGINT, and saved; 138 another host was lost or never came.
"""
HELP = {
    "model": "architecture",
    "epochs": "passes over the training split",
    "global_batch_size": "examples a step, over all devices and hosts",
    "learning_rate": "at its highest",
    "warmup_epochs": "in which it rises from 0",
    "weight_decay": "AdamW's",
    "keep": "epoch whose weights are kept: the best by validation accuracy, or the last (see docs/accuracy.md)",
    "patience": "epochs without a better validation score before a stop",
    "label_smoothing": "share of targets spread evenly over all classes",
    "average": "part of the weights' running average that a step keeps; 0: no average",
    "init": "run directory whose best weights to start from; pretrained: those that come with the package",
    "gain": "how much contrast varies",
    "shift": "how much brightness varies, of 255",
    "invert": "share of pictures inverted",
    "zoom": "how much size varies, as a share",
    "stretch": "how much height over width varies, as a share",
    "rotate": "most degrees that pictures are turned",
    "shear": "most slant, sideways over height",
    "deterministic": "only operations that repeat to the bit",
    "precision": "what layers compute in, weights staying float32; mixed_float16 would need its loss scaled",
    "jit_compile": "have XLA compile the step: a slower start, often faster steps",
    "seed": "of everything random",
    "device": "to train on; auto takes GPUs where there are any",
    "checkpoint_minutes": "between checkpoints; one is made at each epoch's end too",
    "checkpoint_steps": "between checkpoints; 0: the minutes alone count",
    "keep_checkpoints": "how many of the newest to keep",
    "host_minutes": "in which all hosts must have come",
    "profile": "record some steps for TensorBoard",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; their defaults are `TrainConfig`'s and `RunOptions`'."""
    parser.add_argument("--config", type=Path, help="TOML file of settings, or a run's config.json; flags win")
    parser.add_argument("--print-config", action="store_true", help="print the settings as TOML, and do nothing")
    parser.add_argument("--data", help="dataset directory that prepare made")
    parser.add_argument("--run-dir", help="folder for everything that training makes")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that stands in --run-dir")
    add_flags(
        parser,
        HELP,
        {"model": sorted(MODELS), "device": list(DEVICES), "keep": list(KEEPS), "precision": list(PRECISIONS)},
    )


def run(args: argparse.Namespace) -> int:
    """Trains; everything that can be wrong with the options is found before anything is written."""
    flags = {name: getattr(args, name) for name in ("data", "run_dir", *defaults())}
    settings = Settings.read(args.config, flags)
    if args.print_config:
        print(settings.to_toml(), end="")
        return 0
    manifest = Manifest.load(settings.data)
    manifest.split("train")
    cluster = Cluster.from_environment(os.environ)
    strategy = make_strategy(cluster, settings.options.device, settings.options.host_minutes)
    with StopRequest() as stop:
        try:
            with host_errors(cluster.hosts):
                return _train(settings, args.overwrite, Place(settings.data, cluster, strategy), stop)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            return stop.exit_code
        except HostLostError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            # TensorFlow's own end would wait for the host that is gone.
            os._exit(HOST_LOST)


def _train(settings: Settings, overwrite: bool, place: Place, stop: StopRequest) -> int:
    config, cluster = settings.config, place.cluster
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    with place.strategy.scope(), computing_in(config.precision):
        model = build_model(config.model, model_input_shape(Manifest.load(settings.data)))
    # Tried before anything is written. A run that goes on has weights of its own and needs its source no more.
    if config.init is not None and (overwrite or not has_checkpoint(settings.run_dir)):
        if run_directory(config.init).resolve() == settings.run_dir.resolve():
            raise UserError("--init must be another run than --run-dir.", config.init)
        start_from(model, config.init)
    run_ = _open_run(settings, overwrite, place, model)
    training = Training(run_, model, place, settings.options, stop)
    if training.progress.finished:
        training.mend_history()
        print(f"The run in {run_.directory} is finished: nothing is done. --overwrite trains it anew.")
        return 0
    if cluster.is_chief and training.step_of_run:
        print(f"Going on after step {training.step_of_run:,}, in epoch {training.progress.epoch + 1}.")
    start = time.monotonic()
    best = training.finish()
    if cluster.is_chief:
        minutes = (time.monotonic() - start) / 60
        scores = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if name.startswith("validation"))
        kept = f"the weights of epoch {best['epoch']} are kept{': ' if scores else ''}{scores}"
        print(f"Trained {config.model} in {minutes:.1f} min; {kept}")
        evaluate = f"python -m trainer evaluate --run-dir {run_.directory} --data {settings.data}"
        print(f"The run is in {run_.directory}. Next: {evaluate}")
    return 0


def _open_run(settings: Settings, overwrite: bool, place: Place, model: keras.Model) -> Run:
    """Returns the run, once the chief has its directory ready."""
    content = describe_run(
        settings.config,
        settings.data,
        parameters=model.count_params(),
        hosts=place.cluster.hosts,
        replicas=place.strategy.num_replicas_in_sync,
        versions={name: importlib.metadata.version(name) for name in ("streetdigits", "tensorflow", "keras")},
        options=asdict(settings.options),
    )
    if place.cluster.is_chief:
        open_run(settings.run_dir, content, overwrite)
    place.share(0.0)
    return check_run(settings.run_dir, content)
