"""A run from where it stands to its end: epochs of steps, scores, checkpoints. The same for one host and several."""

import time
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from trainer.distribute.strategy import Place
from trainer.fit.checkpoint import Checkpoints, Clock, Progress
from trainer.fit.errors import not_finite, readable
from trainer.fit.history import History, holds
from trainer.fit.optimizer import averaged_weights, make_optimizer, make_schedule
from trainer.fit.profile import Profile
from trainer.fit.signals import Stopped, StopRequest
from trainer.fit.step import StepTotals, make_masks_stateless, make_train_step, read_totals
from trainer.fit.validation import Validation, epoch_line, judge
from trainer.input.dataset import open_pictures, training_dataset
from trainer.input.shuffle import steps_per_epoch
from trainer.run.config import RunOptions
from trainer.run.directory import CHECKPOINTS, HISTORY, TENSORBOARD, Run
from trainer.run.weights import save_weights, start_from


class Training:
    """A run in progress.

    Only the chief scores and writes; all hosts read the newest checkpoint. What they do together, they decide
    together: a host's wish (to stop, to save) travels with the totals of its next step, and all see it after the
    same step.
    """

    def __init__(self, run: Run, model: keras.Model, place: Place, options: RunOptions, stop: StopRequest) -> None:
        """Takes the model up where the run's newest checkpoint has it.

        Args:
          run: whose directory is prepared.
          model: untrained, built in the strategy's scope and not traced yet.
          place: data and devices.
          options: how the run is carried out.
          stop: looked at after each step.

        Raises:
          UserError: the run has a history but no whole checkpoint, or the hosts see different ones; or a run
            without a checkpoint cannot start from the weights that it is told to.
        """
        self._run, self._place, self._options, self._stop = run, place, options, stop
        config = run.config
        self._pictures = open_pictures(place.data, "train")
        self._steps = steps_per_epoch(self._pictures.shards, config, place.cluster.hosts)
        self._schedule = make_schedule(config, self._steps)
        with place.strategy.scope():
            self._optimizer = make_optimizer(config, self._schedule)
            self._optimizer.build(model.trainable_variables)
        self._model = model
        make_masks_stateless(model, config.seed, self._optimizer.iterations)
        self._train_step = make_train_step(place.strategy, model, self._optimizer, config)
        self._validation = Validation(model, place.data)
        self._checkpoints = Checkpoints(run.directory / CHECKPOINTS, options.keep_checkpoints)
        self._progress = self._checkpoints.restore(model, self._optimizer) or self._fresh()
        self._check_same_step()
        self._clock = Clock(options.checkpoint_minutes, options.checkpoint_steps, self.step_of_run)

    def finish(self) -> dict[str, Any]:
        """Trains to the end and returns the history's line of the best epoch, on the chief.

        Raises:
          UserError: loss or gradients that are not finite, or data that cannot be read.
          Stopped: asked to, and saved.
        """
        is_chief = self._place.cluster.is_chief
        history = History(self._run.directory, self._progress.history) if is_chief else None
        profile = Profile(self._run.directory / TENSORBOARD if self._options.profile and is_chief else None)
        while not self._progress.finished:
            self._train_epoch(profile)
            self._end_epoch(history)
        profile.close()
        if history:
            history.close()
        return self._progress.best

    def mend_history(self) -> None:
        """Writes the curves of a finished run that was killed before its last lines were written."""
        if self._place.cluster.is_chief and not holds(self._run.directory, self._progress.history):
            History(self._run.directory, self._progress.history).close()

    @property
    def step_of_run(self) -> int:
        """How many steps are done."""
        return self._progress.epoch * self._steps + self._progress.step

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._progress

    def _fresh(self) -> Progress:
        path = self._run.directory / HISTORY
        # The history is written after the first checkpoint.
        if path.is_file() and path.stat().st_size:
            raise UserError(
                f"{self._run.directory} holds a run already: give --overwrite to replace it, since no checkpoint of "
                "it is left from which it could go on."
            )
        if self._run.config.init is not None:
            start_from(self._model, self._run.config.init)
        return Progress()

    def _check_same_step(self) -> None:
        """Raises UserError where the hosts start from different checkpoints."""
        found = self._place.share(float(self.step_of_run))
        if len(set(found)) > 1:
            rule = f"All hosts must see the same checkpoints: {self._run.directory} must be one shared folder."
            raise UserError(rule, f"steps {', '.join(f'{step:.0f}' for step in found)}")

    def _train_epoch(self, profile: Profile) -> None:
        progress = self._progress
        began = time.monotonic() - progress.seconds
        running: tf.Tensor | None = None
        title = f"epoch {progress.epoch + 1}/{self._run.config.epochs}"
        bar = tqdm(
            total=self._steps,
            initial=progress.step,
            desc=title,
            unit=" steps",
            leave=False,
            mininterval=1.0,
            disable=not self._place.cluster.is_chief,
        )
        with bar, profile:
            for batch in readable(self._batches(), self._place.data, "train"):
                profile.step()
                result = self._train_step(batch, self._wishes())
                # A step's numbers are fetched when the next one is on its way: a GPU need not wait for them.
                last, running = running, result
                if last is not None and (asked := self._count(last, bar)) and any(asked.wishes):
                    self._count(running, bar)
                    running = None
                    progress.seconds = time.monotonic() - began
                    self._save()
                    if asked.wishes[0]:
                        raise Stopped(self.step_of_run)
            if running is not None:
                self._count(running, bar)
        progress.seconds = time.monotonic() - began

    def _batches(self) -> tf.data.Dataset:
        """Returns this host's part of the epoch's steps that are not done yet."""
        progress, cluster = self._progress, self._place.cluster
        return training_dataset(
            self._pictures, self._run.config, progress.epoch, progress.step, cluster.host, cluster.hosts
        )

    def _wishes(self) -> tuple[float, float]:
        """Returns whether this host wants to stop, and whether it wants to save."""
        # The step that is not counted yet and the one that carries the wish are done by then too.
        is_due = self._place.cluster.is_chief and self._clock.is_due(self.step_of_run + 2)
        return float(self._stop.received is not None), float(is_due)

    def _count(self, result: tf.Tensor, bar: Any) -> StepTotals:
        """Adds a step's totals to the epoch's."""
        totals = read_totals(result)
        progress = self._progress
        if not totals.good:
            # The progress stands before this step: its batch is the next one.
            keys = [key.decode() for batch in self._batches().take(1) for key in batch["key"].numpy()]
            raise not_finite(self.step_of_run + 1, self._run.directory, keys, totals)
        progress.loss += totals.loss
        progress.right += totals.right
        progress.examples += totals.examples
        progress.step += 1
        share_right = progress.right / progress.examples
        bar.set_postfix(loss=f"{progress.loss / progress.examples:.3f}", right=f"{share_right:.1%}", refresh=False)
        bar.update()
        return totals

    def _end_epoch(self, history: History | None) -> None:
        """Scores the epoch and saves: first the weights, then the checkpoint that knows of them, then the curves."""
        progress = self._progress
        if history:
            with averaged_weights(self._model, self._optimizer):
                rate = float(self._schedule(self.step_of_run - 1))
                line = epoch_line(progress, self.step_of_run, rate, self._validation.scores())
                if judge(progress, line, self._run.config):
                    save_weights(self._model, self._run.weights)
        finished = self._place.share(float(progress.finished))
        progress.finished = bool(finished[0])
        progress.next_epoch()
        self._save()
        if history:
            history.add(progress.history)

    def _save(self) -> None:
        if self._place.cluster.is_chief:
            self._checkpoints.save(self.step_of_run, self._progress, self._model, self._optimizer)
        self._clock.reset(self.step_of_run)
