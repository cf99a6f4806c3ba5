"""Training loop: epochs of steps, scores and checkpoints, to the end of a run. The same for one host and several."""

import sys
import time
from typing import Any

import keras
import tensorflow as tf

from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.publish import remove_partial
from tfrecords.progress import Progress as Shown
from tfrecords.progress import print_line, progress, silent
from trainer.distribute.strategy import Devices
from trainer.fit.calibrate import calibrate_trained
from trainer.fit.checkpoint import Checkpoints, Clock, Progress, checkpoint_files
from trainer.fit.errors import not_finite_error, readable
from trainer.fit.follow import Following, Pins, moved
from trainer.fit.history import History, history_has
from trainer.fit.optimizer import EpochSchedule, averaged_weights, make_optimizer, make_schedule
from trainer.fit.profile import Profile
from trainer.fit.resume import initialise
from trainer.fit.run_folder import RunFolder
from trainer.fit.signals import Stopped, StopRequest
from trainer.fit.statistics import measure
from trainer.fit.step import StepTotals, make_masks_stateless, make_train_step, read_totals
from trainer.fit.validation import FOUND_RIGHT, READ_RIGHT, Validation, epoch_line, epoch_text, record_epoch
from trainer.input.cached import leave_all
from trainer.input.dataset import training_dataset
from trainer.input.records import Records
from trainer.input.scenes import SceneImages
from trainer.input.shuffle import steps_per_epoch
from trainer.run.config import RunOptions
from trainer.run.directory import CALIBRATION, CHECKPOINTS, CONFIG, HISTORY, TENSORBOARD, WEIGHTS, Run
from trainer.run.weights import save_weights

_SPLIT = "train"


class Training:
    """Run in progress.

    Only the chief scores and writes; all hosts read the newest checkpoint. The hosts decide together: a host's request
    to stop or to save is summed with the totals of its next step, so that all hosts see it after the same step.
    """

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        model: keras.Model,
        records: Records,
        devices: Devices,
        options: RunOptions,
        stop: StopRequest,
        replayed: tuple[int, ...] = (),
    ) -> None:
        """Restores the newest checkpoint of the run, if there is one.

        Args:
          run: Run, its directory prepared.
          folder: Folder of the run, which publishes what is written there.
          model: Model as `start_run` leaves it, built in the strategy's scope and not traced yet.
          records: Dataset to train on.
          devices: Devices to train on.
          options: Options of the execution.
          stop: Request to stop, checked after each step.
          replayed: Numbers of the snapshots of all epochs, of a run that repeats another one.

        Raises:
          UserError: The run has a history but no complete checkpoint; the hosts see different checkpoints; a file of
            the dataset is missing or of the wrong size; or the run to start from cannot be used.
        """
        self._run, self._devices, self._options, self._stop = run, devices, options, stop
        self._folder = folder
        self._directory = records.directory
        self._manifest = records.manifest
        self._records, self._images = records, records.inputs(_SPLIT)
        self._first_records = records
        self._steps = steps_per_epoch(self._images.shards, run.config, devices.cluster.hosts)
        self._replayed, self._first_snapshot = replayed, records.snapshot
        self._following = Following(run.config, replayed, devices) if run.config.follows else None
        self._last_epoch = self._following.last if self._following else run.config.epochs
        self._pins = Pins(records.directory, folder.place, options.pin) if records.snapshot is not None else None
        with devices.strategy.scope():
            self._schedule = EpochSchedule(run.config) if self._following else make_schedule(run.config, self._steps)
            self._optimizer = make_optimizer(run.config, self._schedule)
            self._optimizer.build(model.trainable_variables)
        self._model = model
        make_masks_stateless(model, run.config.seed, self._optimizer.iterations)
        self._train_step = make_train_step(devices.strategy, model, self._optimizer, run.config)
        self._validation = Validation(model, records, with_confidence=self._following is not None)
        self._checkpoints = Checkpoints(run.directory / CHECKPOINTS, options.keep_checkpoints)
        if devices.cluster.is_chief:
            self._checkpoints.remove_partial()
            for name in (CONFIG, HISTORY, WEIGHTS, CALIBRATION):
                remove_partial(run.directory, name)
        self._progress = self._checkpoints.restore(model, self._optimizer) or self._fresh()
        # Epochs of different snapshots have different numbers of steps.
        self._steps_before = int(self._progress.history[-1]["step"]) if self._progress.history else 0
        measure(model, records, self._images, _SPLIT)
        self._check_same_step()
        # In a log, lines for the run: short epochs would print hundreds. On a terminal there is a bar per epoch.
        total = run.config.epochs * self._steps
        self._lines: Shown | None = None
        if not devices.cluster.is_chief or (self._following and not sys.stderr.isatty()):
            # The number of steps of a run that follows a stream is not known.
            self._lines = silent()
        elif not sys.stderr.isatty():
            self._lines = progress("train", total, "steps", done=self.step_of_run)
        if self._following and not self._progress.finished:
            self._progress.snapshots = self._progress.snapshots or [records.snapshot or 0]
            self._begin_epoch()
        self._clock = Clock(options.checkpoint_minutes, options.checkpoint_steps, self.step_of_run)

    def finish(self) -> dict[str, Any]:
        """Trains to the end and returns, on the chief, the history's line of the epoch whose weights are kept.

        Raises:
          UserError: Loss or gradients are not finite, or the dataset cannot be read.
          Stopped: A stop was requested, and a checkpoint is saved.
        """
        is_chief = self._devices.cluster.is_chief
        if self._pins and is_chief:
            self._pins.start(self._snapshots(), self._following is not None and not self._replayed)
        history = History(self._run.directory, self._progress.history) if is_chief else None
        profile = Profile(self._run.directory / TENSORBOARD if self._options.profile and is_chief else None)
        while not self._progress.finished:
            self._train_epoch(profile)
            self._end_epoch(history)
            if self._following and not self._progress.finished:
                self._begin_epoch()
        profile.close()
        if history:
            history.close()
            self._calibrate()
        # The hosts end together, after what the chief alone does.
        self._devices.gather(0.0)
        return self._progress.best

    def repair(self) -> None:
        """Writes what is missing from a complete run that was killed before it wrote its last files."""
        if self._devices.cluster.is_chief:
            if not history_has(self._run.directory, self._progress.history):
                History(self._run.directory, self._progress.history).close()
            if not (self._run.directory / CALIBRATION).exists():
                self._calibrate()
        self._devices.gather(0.0)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch; of a run that follows a stream, those of the present epoch."""
        return self._steps

    @property
    def step_of_run(self) -> int:
        """Number of finished steps, counted over the run."""
        return self._steps_before + self._progress.step

    @property
    def progress(self) -> Progress:
        """Progress of the run."""
        return self._progress

    def _fresh(self) -> Progress:
        """Returns the progress of a run without a complete checkpoint."""
        directory, path = self._run.directory, self._run.directory / HISTORY
        # The history is written after the first checkpoint.
        if path.is_file() and path.stat().st_size:
            raise UserError(
                f"{directory} already contains a run, but no complete checkpoint to resume from: "
                "use --overwrite to replace it."
            )
        if checkpoint_files(directory / CHECKPOINTS):
            # All are damaged. `start_run` took the run for one that can be resumed, and left the model as it was.
            initialise(self._model, self._run.config, directory, self._manifest, self._options.allow_other_crop)
        return Progress()

    def _snapshots(self) -> list[int]:
        """Returns the numbers of the snapshots that the run is known to need."""
        return sorted({self._first_snapshot or 0, *self._progress.snapshots, *self._replayed})

    def _begin_epoch(self) -> None:
        """Moves to the snapshot of the epoch.

        Raises:
          UserError: A host does not see the snapshot, or a file of it is missing or of the wrong size.
        """
        progress, records = self._progress, self._records
        number = progress.snapshots[progress.epoch]
        if number != records.snapshot:
            self._records = moved(records, number, self._devices)
            self._records.move(self._images, _SPLIT)
            if self._devices.cluster.is_chief:
                self._validation.move_newest(self._records)
            self._steps = steps_per_epoch(self._images.shards, self._run.config, self._devices.cluster.hosts)
        self._schedule.begin(self._steps_before, progress.epoch, self._steps)

    def _check_same_step(self) -> None:
        """Raises a UserError if the hosts start from different checkpoints."""
        found = self._devices.gather(float(self.step_of_run))
        if len(set(found)) > 1:
            rule = f"All hosts must see the same checkpoints: {self._run.directory} must be one shared folder."
            raise UserError(rule, f"steps {', '.join(f'{step:.0f}' for step in found)}")

    def _train_epoch(self, profile: Profile) -> None:
        progress = self._progress
        began = time.monotonic() - progress.seconds
        running: tf.Tensor | None = None
        with self._shown() as shown, profile:
            for batch in readable(self._batches(), self._directory, _SPLIT, self._run.reads_length):
                profile.step()
                result = self._train_step(batch, self._requests())
                # A step's totals are fetched after the next step was started, so that a GPU need not wait for them.
                last, running = running, result
                if last is not None and (totals := self._count(last, shown)) and any(totals.requests):
                    self._count(running, shown)
                    running = None
                    progress.seconds = time.monotonic() - began
                    self._save()
                    if totals.requests[0]:
                        raise Stopped(self.step_of_run)
            if running is not None:
                self._count(running, shown)
        progress.seconds = time.monotonic() - began

    def _shown(self) -> Shown:
        """Returns the progress to show of an epoch: none of its own in a log, nor on a host that is not the chief."""
        if self._lines:
            return self._lines
        of = f"/{self._last_epoch}" if self._last_epoch else ""
        name = f"epoch {self._progress.epoch + 1}{of}"
        return progress(name, self._steps, "steps", done=self._progress.step, keep=False)

    def _batches(self) -> tf.data.Dataset:
        """Returns this host's part of the remaining steps of the epoch."""
        progress, cluster = self._progress, self._devices.cluster
        return training_dataset(
            self._images, self._run.config, progress.epoch, progress.step, cluster.host, cluster.hosts
        )

    def _requests(self) -> tuple[float, float]:
        """Returns this host's requests: to stop, and to save a checkpoint."""
        # By then two more steps are done: the one that is not counted yet, and the one that carries the request.
        is_due = self._devices.cluster.is_chief and self._clock.is_due(self.step_of_run + 2)
        return float(self._stop.received is not None), float(is_due)

    def _count(self, result: tf.Tensor, shown: Shown) -> StepTotals:
        """Adds a step's totals to the progress."""
        totals = read_totals(result)
        progress = self._progress
        if not totals.good:
            # The progress does not include this step, so its batch is the next one.
            batches = iter(self._batches())
            keys = [key.decode() for key in next(batches)["key"].numpy()]
            leave_all()
            raise not_finite_error(self.step_of_run + 1, self._run.directory, keys, totals)
        progress.loss += totals.loss
        progress.right += totals.right
        progress.examples += totals.examples
        progress.step += 1
        share_right = progress.right / progress.examples
        shown.note(f"loss={progress.loss / progress.examples:.3f}, right={share_right:.1%}")
        shown.update()
        return totals

    def _end_epoch(self, history: History | None) -> None:
        """Scores the epoch and saves the weights, then the checkpoint that refers to them, then the curves."""
        progress, epochs = self._progress, self._last_epoch
        snapshot = progress.snapshots[progress.epoch] if self._following else None
        rate = float(self._schedule(self.step_of_run - 1))
        right = FOUND_RIGHT if self._run.task == FIND else READ_RIGHT
        if not history:
            # The chief alone has validation scores.
            line = epoch_line(progress, self.step_of_run, rate, {}, snapshot, right)
            print(epoch_text(line, epochs), flush=True)
        else:
            with averaged_weights(self._model, self._optimizer):
                line = epoch_line(progress, self.step_of_run, rate, self._validation.scores(), snapshot, right)
                print_line(epoch_text(line, epochs), sys.stdout)
                if record_epoch(progress, line, self._run.config, epochs):
                    save_weights(self._model, self._run.weights)
        progress.finished = bool(self._devices.gather(float(progress.finished))[0])
        self._steps_before += progress.step
        progress.next_epoch()
        if self._following and not progress.finished:
            self._choose_snapshot(self._following)
        self._save()
        if history:
            history.add(progress.history)
            self._folder.sync()

    def _calibrate(self) -> None:
        images = self._validation.images
        # A model that finds numbers has no probabilities of characters.
        if self._options.calibrate and not isinstance(images, SceneImages):
            calibrate_trained(self._run, images, self._first_records)

    def _choose_snapshot(self, following: Following) -> None:
        """Adds the snapshot of the next epoch to the progress, which is saved before the first step of the epoch."""
        number = following.next(self._progress.epoch, self._records)
        if self._pins and self._devices.cluster.is_chief and number not in self._progress.snapshots:
            self._pins.add(number)
        self._progress.snapshots.append(number)

    def _save(self) -> None:
        if self._devices.cluster.is_chief:
            self._checkpoints.save(self.step_of_run, self._progress, self._model, self._optimizer)
            self._folder.sync()
        self._clock.reset(self.step_of_run)
