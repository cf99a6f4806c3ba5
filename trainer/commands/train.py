"""python -m trainer train: trains a model on a dataset's records, on one host or several."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place
from tfrecords.flags import add_flags
from tfrecords.interrupts import ending_at_once
from trainer.distribute.cluster import Cluster
from trainer.distribute.startup import start_tensorflow
from trainer.fit.advice import advice
from trainer.fit.run_folder import RunFolder, check_run_directory, open_run_folder
from trainer.fit.signals import Stopped, StopRequest
from trainer.input.records import Records
from trainer.models import FINDERS, MODELS, build_model, computing_in
from trainer.run.cache_folder import CacheFolder
from trainer.run.config import RunOptions, TrainConfig
from trainer.run.directory import model_input_shape, reads_length
from trainer.run.settings import Settings
from trainer.run.stand_in import naming_addresses
from trainer.run.stream import Chosen, choose

if TYPE_CHECKING:
    import keras

    from trainer.distribute.strategy import Devices

EPILOG = """\
examples:
  train the default model on records made by prepare:
    python -m trainer train --data svhn-records --run-dir runs/first
  train the network of Goodfellow et al. 2013:
    python -m trainer train --data svhn-records --run-dir runs/goodfellow \\
      --model goodfellow --learning-rate 0.0005
  repeat a run with the same settings:
    python -m trainer train --config runs/first/config.json \\
      --run-dir runs/second
  fine-tune a model trained on synthetic pictures, with warped images:
    python -m trainer train --data svhn-records --run-dir runs/third \\
      --init runs/synthetic --zoom 0.15 --rotate 8
  fine-tune the weights that come with the package on your own records:
    python -m trainer train --data my-records --run-dir runs/fine \\
      --init pretrained
  follow a dataset that grows (made by beam_jobs watch): each epoch has the
  newest snapshot; then train again on the same snapshots, for the same weights:
    python -m trainer train --data STREAM --run-dir runs/live --follow
    python -m trainer train --replay runs/live --run-dir runs/again
  watch the curves: tensorboard --logdir runs

Defaults depend on the model and the optimizer. Those shown above are of compact
with adamw. The published networks mnist_cnn, optdigits_cnn, mnist_vgg, barcode
and conv2 have the settings that they were published with. --print-config, next
to --data, --run-dir and --model, prints what holds. Flags and the file of
--config win over it. A dataset to find numbers in, which prepare makes with
the task find, is for the model finder, and takes it without --model.

Each epoch prints its loss and the share of numbers predicted right, both as
training/validation. Of finder it prints the share of training pictures of which
all numbers are found, and recall and precision on the validation split.

Training uses the split train. The split validation, if there is one, decides
which weights are kept and when to stop. At the end, the temperature of the
confidences is fitted on it (calibration.json), unless --no-calibrate is given
or it has fewer than 100 examples. Records of complete crops
(prepare --jitters 0) are jittered during training, differently in each epoch.

A stream is a dataset that grows. Without a flag, a run has the snapshot that is
the newest at its first start, to the end. With --follow the learning rate goes
by the share of epochs done, and validation stays that of the first snapshot. A
run pins its snapshots, so that the stream keeps them.

To resume after a stop, a kill or a power failure, run the same command again:
training resumes from the last checkpoint and ends with the same weights as an
uninterrupted run. To train on several hosts, run the same command on each, with
TF_CONFIG set.

exit codes:
  0         the run is complete
  1         error, printed in one line
  143, 130  stopped by SIGTERM or SIGINT, with a checkpoint saved
  138       another host was lost or did not join
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; those of the settings come from the fields of `TrainConfig` and `RunOptions`."""
    parser.add_argument("--config", type=place, help="TOML file of settings, or a run's config.json; flags win over it")
    parser.add_argument("--print-config", action="store_true", help="print the settings as TOML and exit")
    unset = argparse.SUPPRESS
    parser.add_argument("--data", type=place, default=unset, help="dataset directory made by prepare, or its address")
    parser.add_argument(
        "--run-dir", type=place, default=unset, help="folder or address for everything that training writes"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing run in --run-dir")
    add_flags(parser, TrainConfig, RunOptions, choices={"model": sorted([*MODELS, *FINDERS])})


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Trains. Settings, dataset and devices are read once here; wrong options are errors before anything is written.

    Args:
      args: Parsed options.

    Returns:
      The exit code.

    Raises:
      UserError: An option, the dataset or the run directory cannot be used.
    """
    settings = Settings.read(args.config, vars(args), partial(_default_model, args.print_config))
    check_run_directory(settings.run_dir, with_store=not args.print_config)
    if args.print_config:
        print(settings.to_toml(), end="")
        return 0
    options = settings.options
    cache = CacheFolder.of(options.cache, options.cache_size)
    chosen = choose(settings.data, settings.run_dir, settings.config, args.overwrite)
    records = Records.open(settings.data, cache, chosen.first if chosen else None)
    records.manifest.split("train")
    _check_task(settings, records.manifest)
    cluster = Cluster.from_environment(os.environ)
    # TensorFlow, whose import takes seconds, comes after the options are checked.
    with ending_at_once():
        start_tensorflow()
    from trainer.distribute.strategy import HOST_LOST, Devices, make_strategy
    from trainer.fit.errors import HostLostError, host_errors

    if cluster.hosts > 1:
        print(f"Waiting for the {cluster.hosts} hosts {', '.join(cluster.addresses)}.", flush=True)
    devices = Devices(cluster, make_strategy(cluster, options.device, options.host_minutes))
    if cluster.hosts > 1:
        print(f"Training on {cluster}.", flush=True)
    with StopRequest() as stop:
        try:
            folder = open_run_folder(settings.run_dir, cache, options.keep_checkpoints, cluster.host, args.overwrite)
            with host_errors(cluster.hosts), folder as opened:
                return _train(settings, opened, records, devices, args.overwrite, stop, chosen)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            return stop.exit_code
        except HostLostError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            # TensorFlow's own shutdown would wait for the lost host.
            os._exit(HOST_LOST)


def _train(
    settings: Settings,
    folder: RunFolder,
    records: Records,
    devices: Devices,
    overwrite: bool,
    stop: StopRequest,
    chosen: Chosen | None,
) -> int:
    from trainer.fit.follow import agreed
    from trainer.fit.loop import Training
    from trainer.fit.resume import start_run

    records = agreed(records, devices)
    replayed = chosen.replayed if chosen else ()
    model = _build_model(settings.config, records, devices)
    run_ = start_run(settings, folder, model, records, devices, overwrite, replayed)
    training = Training(run_, folder, model, records, devices, settings.options, stop, replayed)
    if training.progress.finished:
        training.repair()
        print(f"The run in {folder.place} is already complete; use --overwrite to retrain.")
        return 0
    if devices.cluster.is_chief:
        folder.claim()
        for line in advice(run_.config, records.manifest, training.steps_per_epoch):
            print(f"warning: {line}", file=sys.stderr)
    if training.step_of_run:
        print(f"Resuming after step {training.step_of_run:,}, in epoch {training.progress.epoch + 1}.")
    start = time.monotonic()
    best = training.finish()
    if devices.cluster.is_chief:
        folder.finish()
    minutes = (time.monotonic() - start) / 60
    if not devices.cluster.is_chief:
        print(f"Trained {settings.config.model} in {minutes:.1f} min; the chief has written {folder.place}.")
        return 0
    kept = f"the weights of epoch {best['epoch']} are kept"
    if "validation_loss" in best:
        kept += f": validation loss {best['validation_loss']:.2f}, {_words(best)}"
    print(f"Trained {settings.config.model} in {minutes:.1f} min; {kept}.")
    words = ["--run-dir", str(folder.place), "--data", str(settings.data)]
    # The split to score must be there: a dataset of few pictures may have no test split.
    split = next((name for name in ("test", "validation") if name in records.manifest.splits), "train")
    words += ["--split", split] if split != "test" else []
    print(f"The run is in {folder.place}. Next: python -m trainer evaluate {shlex.join(words)}")
    return 0


def _words(best: dict[str, Any]) -> str:
    """Returns the validation scores of an epoch's line that say the most."""
    if (precision := best.get("validation_average_precision")) is None:
        return f"numbers {best['validation_whole_number_accuracy']:.1%}"
    recall = best["validation_recall"]
    return f"average precision {precision:.3f}, recall {recall:.1%} at confidence {best['validation_threshold']:.2f}"


def _default_model(is_local_only: bool, data: Place) -> str:
    """Returns the model that is trained on a dataset by default; a dataset that cannot be read is refused later.

    Args:
      is_local_only: Whether a dataset at an address is taken for one to read numbers, without a request.
      data: Dataset directory.
    """
    if is_local_only and data.is_remote:
        return TrainConfig.model
    try:
        return next(iter(FINDERS)) if Manifest.load(data).task == FIND else TrainConfig.model
    except (UserError, OSError):
        return TrainConfig.model


def _check_task(settings: Settings, manifest: Manifest) -> None:
    """Raises a UserError if the model does not do what the dataset teaches."""
    model, config = settings.config.model, settings.config
    if manifest.task == FIND and model not in FINDERS:
        rule = f"{settings.data} teaches to find numbers in pictures: --model must be {', '.join(FINDERS)}"
        raise UserError(f"{rule}, or --data a dataset that `prepare` made to read them.", model)
    if manifest.task != FIND and model in FINDERS:
        rule = f"--model {model} finds numbers in pictures: --data must be made by `prepare --task {FIND}`."
        raise UserError(rule, f"a dataset to {manifest.task} numbers, {settings.data}")
    if model in FINDERS and config.label_smoothing:
        raise UserError(f"label_smoothing must be 0 for {model}.", config.label_smoothing)


def _build_model(config: TrainConfig, records: Records, devices: Devices) -> keras.Model:
    """Returns the untrained model, its weights drawn from the random seed."""
    import keras
    import tensorflow as tf

    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(config.seed)
    with devices.strategy.scope(), computing_in(config.precision):
        manifest = records.manifest
        return build_model(config.model, model_input_shape(manifest), manifest.labels, reads_length(manifest))
