"""How a dataset is made: one frozen value, saved in the manifest."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from beam_jobs.job.given import DATA, ORIENTATIONS, PICTURES, check_options, digit_order_setting, orientation_setting
from beam_jobs.prepare.assign import Fractions
from beam_jobs.sources import load_source
from beam_jobs.sources.base import DIGIT_ORDERS, SourceOptions
from tfrecords.dataset.manifest import FIND, READ, SPLITS, TASKS, UNKNOWN_SPLIT, ImageInfo
from tfrecords.errors import UserError
from tfrecords.flags import from_flags, setting, settings_of
from tfrecords.images.crop import CropSpec, Shape
from tfrecords.record.codec import ENCODINGS
from tfrecords.record.labels import DIGITS, MOST_LENGTH, Labels
from tfrecords.record.scene import SCENE_ENCODINGS

ON_LEAK = ("warn", "fail", "drop")
CHOSEN_SPLITS = tuple(split for split in SPLITS if split != UNKNOWN_SPLIT)
"""Splits that a user may choose for all pictures: those of numbers that are known."""
_SPLITS = "splits and shards"
_UNSET: dict[str, Any] = {
    "split": None,
    "backgrounds": 0.0,
    "options": {},
    "limit": None,
    "orientation": "upright",
    "on_leak": "warn",
    "task": READ,
    "fixes_sha256": None,
    "fixes_dropped": 0,
    "fixes_relabelled": 0,
}
"""Values that add nothing, of settings that the first version did not have."""
_CANVAS = 320
_LEAST_CANVAS, _MOST_CANVAS = 32, 2048
_OF_FIND: dict[str, Any] = {"encoding": "jpeg", "examples_per_shard": 512, "max_length": None}
"""Defaults of datasets for finding that differ. An image of 320 pixels has 307 kB raw, one of 54 pixels 9."""
_OF_READ = (*settings_of(CropSpec), "whole_crops", "backgrounds")
"""Settings of crops, which datasets for finding do not have."""
_ANY_LENGTH = (
    "of other sources than svhn 1 for mnist and optdigits, else that of the longest number found, as with --task find"
)


@dataclass(frozen=True)
class PrepareConfig:
    """Everything that decides a dataset's bytes except its pictures; no paths and no runner.

    The help line of each setting describes it. The order of the fields is that of the manifest.

    Attributes:
      source: Name of the input's format, one of `beam_jobs.sources.SOURCES`.
      crop: How pictures are cut.
      options: How the source's labels are read.
      fixes_sha256: SHA-256 of the list of --fix, hexadecimal; None without one.
      fixes_dropped: Number of annotations that the list leaves out.
      fixes_relabelled: Number of annotations that the list gives another number.
    """

    source: str = "svhn"
    name: str = setting("svhn", "name of the dataset, first part of its shards' names", group=DATA)
    max_length: int | None = setting(5, f"largest number of characters in a number, 1..32; {_ANY_LENGTH}", group=DATA)
    alphabet: str = setting(DIGITS, "characters of numbers; a number with others is rejected", group=DATA)
    crop: CropSpec = field(default_factory=CropSpec)
    channels: int = setting(3, "channels of the images: 3 for colours, 1 for grey", group=PICTURES)
    whole_crops: bool = setting(
        False,
        "with --jitters 0: store the complete crop of evaluation pictures too, for trainer evaluate --crops 10",
        group=PICTURES,
    )
    backgrounds: float = setting(
        0.0,
        "share of the pictures, 0..1, of which a random crop without a digit is stored too, as a number of length 0",
        group=PICTURES,
    )
    validation_fraction: float = setting(
        0.05, "share of the training pictures drawn for validation, 0..1", group=_SPLITS
    )
    test_fraction: float = setting(0.0, "share of the training pictures drawn for test, 0..1", group=_SPLITS)
    split: str | None = setting(
        None,
        "split of all pictures, instead of the splits of the subsets and the fractions",
        choices=CHOSEN_SPLITS,
        group=_SPLITS,
    )
    seed: int = setting(0, "random seed for splits, shards, order and jitter", group=_SPLITS)
    encoding: str = setting(
        "raw",
        "encoding of the stored pixels; jpeg is for --task find, which has it as its default",
        choices=(*ENCODINGS, *(each for each in SCENE_ENCODINGS if each not in ENCODINGS)),
        group=PICTURES,
    )
    digit_order: str = digit_order_setting()
    examples_per_shard: int = setting(4096, "target number of examples per shard; 512 with --task find", group=_SPLITS)
    shards: int | None = setting(
        None, "number of shards of the largest split, instead of --examples-per-shard", group=_SPLITS
    )
    orientation: str = orientation_setting()
    on_leak: str = setting(
        "warn",
        "what to do if the same picture, byte for byte, is in several splits: name some, publish nothing, or leave it "
        "out of train and validation",
        choices=ON_LEAK,
        group=_SPLITS,
    )
    max_dead_fraction: float = setting(
        0.01, "largest share of rejected pictures, 0..1; the job fails if there are more", group=PICTURES
    )
    limit: int | None = setting(
        None,
        "number of pictures to take, a random sample, each counted once for each of its numbers; a larger limit takes "
        "the same ones and more",
        group=DATA,
    )
    options: SourceOptions = field(default_factory=SourceOptions)
    task: str = setting(
        READ,
        "what to teach: read stores a crop of each number; find stores each picture whole, once, with the boxes of its "
        "numbers and of their characters, and pictures without a number too",
        choices=TASKS,
        group=PICTURES,
    )
    canvas: int = setting(
        _CANVAS,
        f"with --task find: height and width of the images, pixels, {_LEAST_CANVAS}..{_MOST_CANVAS}; the longest side "
        "of a picture is resized to it, and the rest is black",
        group=PICTURES,
    )
    fixes_sha256: str | None = None
    fixes_dropped: int = 0
    fixes_relabelled: int = 0

    def __post_init__(self) -> None:
        """Checks every setting.

        Raises:
          UserError: A setting is not allowed.
        """

        def check(good: bool, rule: str, received: object) -> None:
            if not good:
                raise UserError(rule, received)

        check(bool(re.fullmatch("[a-z][a-z0-9_]*", self.name)), "name must be of a-z, 0-9 and _.", self.name)
        for option in ("backgrounds", "validation_fraction", "test_fraction", "max_dead_fraction"):
            check(0 <= getattr(self, option) <= 1, f"{option} must be 0..1.", getattr(self, option))
        drawn = self.validation_fraction + self.test_fraction
        rule = "Unless one of them is 1, validation_fraction and test_fraction must leave something to train on."
        check(drawn < 1 or (drawn == 1 and 1 in (self.validation_fraction, self.test_fraction)), rule, drawn)
        check(self.split in (None, *CHOSEN_SPLITS), f"split must be one of {', '.join(CHOSEN_SPLITS)}.", self.split)
        check(not (self.split and self.test_fraction), "split leaves no test_fraction to draw.", self.test_fraction)
        if self.max_length is not None:
            Labels(self.max_length)
        Labels(alphabet=self.alphabet)
        check(self.channels in (1, 3), "channels must be 1 or 3.", self.channels)
        check(self.orientation in ORIENTATIONS, f"orientation must be one of {ORIENTATIONS}.", self.orientation)
        check(self.on_leak in ON_LEAK, f"on_leak must be one of {ON_LEAK}.", self.on_leak)
        check(self.limit is None or self.limit >= 1, "limit must be at least 1.", self.limit)
        self._check_task(check)
        check(self.digit_order in DIGIT_ORDERS, f"digit_order must be one of {DIGIT_ORDERS}.", self.digit_order)
        check(self.examples_per_shard >= 1, "examples_per_shard must be at least 1.", self.examples_per_shard)
        check(not (self.whole_crops and self.crop.jitters), "whole_crops needs jitters 0.", self.crop.jitters)
        check(self.shards is None or 1 <= self.shards < 100_000, "shards must be 1..99999.", self.shards)

    def _check_task(self, check: Callable[[bool, str, object], None]) -> None:
        """Checks the settings that are of one task alone."""
        check(self.task in TASKS, f"task must be one of {TASKS}.", self.task)
        rule = f"canvas must be {_LEAST_CANVAS}..{_MOST_CANVAS}."
        check(_LEAST_CANVAS <= self.canvas <= _MOST_CANVAS, rule, self.canvas)
        if self.task == FIND:
            check(self.encoding in SCENE_ENCODINGS, f"encoding must be one of {SCENE_ENCODINGS}.", self.encoding)
            crops = f"--task find stores whole pictures: {', '.join(_OF_READ)} must be as they are by default."
            is_whole = self.crop == CropSpec() and not self.whole_crops and not self.backgrounds
            check(is_whole, crops, f"{self.crop}, whole_crops {self.whole_crops}, backgrounds {self.backgrounds}")
        else:
            rule = f"encoding must be one of {ENCODINGS}, except with --task find."
            check(self.encoding in ENCODINGS, rule, self.encoding)
            check(self.canvas == _CANVAS, "canvas is for --task find: crops have --record-size.", self.canvas)

    @property
    def fractions(self) -> Fractions:
        """Shares that are drawn from the training pictures."""
        return Fractions(self.validation_fraction, self.test_fraction, self.split)

    @property
    def reading(self) -> SourceOptions:
        """How the source's labels are read, also as other settings decide."""
        return replace(self.options, as_stored=self.orientation == "stored")

    @cached_property
    def labels(self) -> Labels:
        """What the numbers may be; before a plan is made, the longest length may be open."""
        return Labels(self.max_length or MOST_LENGTH, self.alphabet)

    def jitters(self, split: str) -> int:
        """Returns the number of random windows per picture of a split; 0 if it gets one fixed window."""
        return self.crop.jitters if split == "train" and self.task == READ else 0

    def image_shape(self, split: str) -> Shape:
        """Returns the height and width of a split's images, pixels."""
        is_whole_crop = self.whole_crops or (split == "train" and not self.crop.jitters)
        return self.crop.crop_shape if is_whole_crop else self.crop.record_shape

    def image_info(self, splits: list[str]) -> ImageInfo:
        """Returns the shape and encoding of the images of a dataset with these splits."""
        if self.task == FIND:
            return ImageInfo((self.canvas, self.canvas, self.channels), self.encoding)
        shapes = {self.image_shape(split) for split in splits}
        height, width = shapes.pop() if len(shapes) == 1 else (None, None)
        return ImageInfo((height, width, self.channels), self.encoding)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as the manifest holds them."""
        # Without settings that are not set: manifests of before they existed are those of the same dataset.
        values = asdict(self)
        values["options"] = {name: value for name, value in values["options"].items() if value not in (None, False)}
        unset = _UNSET if self.task == FIND else {**_UNSET, "canvas": _CANVAS}
        return {name: value for name, value in values.items() if name not in unset or value != unset[name]}


def config_from_flags(values: Mapping[str, Any]) -> PrepareConfig:
    """Returns the configuration of the flags that were given, with the defaults of the source.

    --test-fraction 1 leaves no default for validation.

    Raises:
      UserError: A setting is not allowed, or belongs to other sources.
    """
    name = values.get("source", "svhn")
    source = load_source(name)
    drawn = {"validation_fraction": 0.0} if values.get("test_fraction") == 1 else {}
    of_source = {"name": name.replace("-", "_"), "max_length": None, **source.defaults}
    if values.get("task") == FIND:
        refuse_crops(values)
        of_source = {**{each: of_source[each] for each in of_source if each not in _OF_READ}, **_OF_FIND}
    config: PrepareConfig = from_flags(PrepareConfig, {**of_source, **drawn, **values})
    check_options(name, values)
    return config


def refuse_crops(values: Mapping[str, Any]) -> None:
    """Checks that no flag of crops was given for a dataset that has none.

    Raises:
      UserError: One was.
    """
    if given := [f"--{name.replace('_', '-')}" for name in _OF_READ if name in values]:
        rule = "--task find stores whole pictures, of which --canvas is the size: leave out the flags of crops."
        raise UserError(rule, ", ".join(given))
