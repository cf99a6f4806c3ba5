"""What a call of `explore` reads and writes, and how."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any

from beam_jobs.job.given import GivenData, check_options, digit_order_setting, orientation_setting
from beam_jobs.sources import load_source
from beam_jobs.sources.base import SourceOptions
from tfrecords.flags import from_flags, setting
from tfrecords.images.crop import CropSpec

COMMAND = "python -m beam_jobs explore"


@dataclass(frozen=True, kw_only=True)
class ExploreJob(GivenData):
    """What one call reads and writes. The help line of each setting describes it."""

    output: str = setting(
        MISSING,
        "HTML page to write, local or at an address, as s3://; PAGE.statistics.json is written next to it",
        group="data",
    )


@dataclass(frozen=True)
class ExploreConfig:
    """Everything but the input that decides what a page shows. The help line of each setting describes it.

    Attributes:
      source: Name of the input's format.
      crop: How `prepare` would cut pictures.
      options: How the source's labels are read.
    """

    source: str = "svhn"
    crop: CropSpec = field(default_factory=CropSpec)
    seed: int = setting(0, "random seed for the pictures that are shown, and for their jitter", group="pictures")
    digit_order: str = digit_order_setting()
    orientation: str = orientation_setting()
    options: SourceOptions = field(default_factory=SourceOptions)

    @property
    def upright(self) -> bool:
        """Whether pictures are turned as their files say."""
        return self.orientation == "upright"

    @property
    def reading(self) -> SourceOptions:
        """How the source's labels are read, also as other settings decide."""
        return replace(self.options, as_stored=not self.upright)


def config_from_flags(values: Mapping[str, Any]) -> ExploreConfig:
    """Returns the configuration of the flags that were given, with the defaults that `prepare` has for the source.

    Raises:
      UserError: A setting is not allowed, or belongs to other sources.
    """
    source = load_source(values["source"])
    config: ExploreConfig = from_flags(ExploreConfig, {**source.defaults, **values})
    check_options(config.source, values)
    return config
