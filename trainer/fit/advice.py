"""Warnings about a run that cannot teach or show much: little data, or few steps."""

from collections.abc import Iterator

from tfrecords.dataset.manifest import Manifest
from trainer.pretrained import offered
from trainer.run.config import TrainConfig
from trainer.run.cut import dataset_cut, differences, run_cut
from trainer.run.directory import Run

FEWEST_VALIDATED = 20
"""Validation pictures below which chance chooses the best epoch: one picture is then 5 % and more."""
FEWEST_FOLLOWED = 500
"""Validation pictures of the first snapshot below which a run that follows is warned: chance moves an accuracy of 80 %
by 3.5 points or more (95 %), and these few choose among all epochs to come, whatever arrives."""
FEWEST_PICTURES = 2000
"""Training pictures below which the pretrained weights are a better start than none."""


def advice(config: TrainConfig, manifest: Manifest, steps: int) -> Iterator[str]:
    """Yields a line for each thing that is probably not meant.

    Args:
      config: Training configuration.
      manifest: Manifest of the dataset; of a stream, that of the run's first snapshot.
      steps: Steps per epoch.
    """
    total, warmup = config.epochs * steps, int(config.warmup_epochs * steps)
    if config.epochs and total <= warmup:
        yield (
            f"the run has {total:,} steps, and its warm-up takes {warmup:,}: the learning rate rises to the end. Use "
            "more --epochs, or a smaller --warmup-epochs."
        )
    validated = manifest.splits["validation"].pictures if "validation" in manifest.splits else 0
    if validated < FEWEST_VALIDATED and config.keep == "best":
        kept = "the last epoch is kept" if not validated else "they hardly show which epoch is the best"
        count = f"{validated} validation picture{'s' * (validated != 1)}" if validated else "no validation pictures"
        yield f"there are {count}: {kept}. `prepare --validation-fraction` draws more."
    elif validated < FEWEST_FOLLOWED and config.keep == "best" and config.follows:
        yield (
            f"the {validated} validation pictures of the first snapshot choose the weights to keep, whatever arrives: "
            "--keep last keeps the newest."
        )
    pictures = manifest.split("train").pictures
    if config.init is None and pictures < FEWEST_PICTURES:
        fitting = (one for one in offered().values() if _fits(config, manifest, Run.load(one.directory)))
        if one := next(fitting, None):
            yield (
                f"{pictures:,} training pictures are few to start from nothing: --init {one.name} starts from the "
                "weights that come with the package."
            )


def _fits(config: TrainConfig, manifest: Manifest, pretrained: Run) -> bool:
    """Returns whether a run could start from the pretrained weights."""
    differ = set(differences(dataset_cut(manifest), run_cut(pretrained)))
    # Weights of colour images start a model of grey ones too, and of images of any other size (trainer.run.transfer).
    is_resized = bool(differ & {"record_size", "aspect"})
    return config.model == pretrained.config.model and (is_resized or differ <= {"channels"})
