"""A run of a model that finds numbers, which follows a stream of complete pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests import scene_runs
from tests.scene_batches import drop_drawn
from tfrecords.cli import main
from tfrecords.dataset.manifest import SplitInfo
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.__main__ import COMMANDS
from trainer.fit import follow
from trainer.input.records import Records
from trainer.input.scenes import SceneImages
from trainer.models import FINDERS
from trainer.run import stream as choices
from trainer.run.directory import HISTORY

OPTIONS = ["--model", scene_runs.NAME, "--global-batch-size", "4", "--learning-rate", "0.01", "--epochs", "3"]
OPTIONS += ["--deterministic"]


class Watched:
    """A stream of scenes that a test lets grow by batches of eight.

    Attributes:
      stream: Folder of the stream.
    """

    def __init__(self, folder: Path) -> None:
        """Starts one with a batch."""
        self.stream, self._inbox, self._batches = folder / "stream", folder / "inbox", 0
        self.grow()

    def grow(self) -> None:
        """Drops a batch, and makes its snapshot."""
        drop_drawn(self._inbox, f"b{self._batches}", 8 * self._batches, 8)
        self._batches += 1
        flags = ["--source", "coco", "--input", str(self._inbox), "--output", str(self.stream), "--once"]
        flags += ["--task", "find", "--canvas", "64", "--max-length", "3", "--validation-fraction", "0.3"]
        flags += ["--settle", "0.05", "--poll", "0.02", "--workers", "1", "--compact", "off"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["watch", *flags]) == 0


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def history_of(run_dir: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def train(*options: object) -> int:
    return main("trainer", "", COMMANDS, ["train", *map(str, options)])


def test_each_epoch_has_the_newest_scenes_and_a_replay_ends_with_the_same_bits(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_steps: None
) -> None:
    monkeypatch.setitem(FINDERS, scene_runs.NAME, scene_runs.build)
    newest, run_dir = choices.newest, tmp_path / "run"

    def look(place: Place) -> int:
        watched.grow()
        return newest(place)

    with monkeypatch.context() as patch:
        patch.setattr(follow, "newest", look)
        assert train("--data", watched.stream, "--run-dir", run_dir, *OPTIONS, "--follow") == 0
    lines = history_of(run_dir)
    assert [line["snapshot"] for line in lines] == [0, 1, 2]
    steps = np.diff([0, *(line["step"] for line in lines)])
    assert (np.diff(steps) > 0).all()
    # Validation stays that of the first snapshot, and the newest one is scored where it differs.
    assert all("validation_average_precision" in line for line in lines)
    assert ["validation_newest_average_precision" in line for line in lines] == [False, True, True]
    assert train("--replay", run_dir, "--run-dir", tmp_path / "again") == 0
    assert history_of(tmp_path / "again") == lines


def test_scenes_move_to_another_snapshot_and_back(watched: Watched) -> None:
    watched.grow()
    first = Records.open(watched.stream, snapshot=0)
    images = first.inputs("train")
    assert isinstance(images, SceneImages)
    before = images.take(np.arange(len(images)))
    first.at(1).move(images, "train")
    after = images.take(np.arange(len(images)))
    assert set(before.keys) < set(after.keys) and len(images) == len(after.keys)
    for row, key in enumerate(before.keys):
        (other,) = np.flatnonzero(after.keys == key)
        np.testing.assert_array_equal(before.images[row], after.images[other])
        np.testing.assert_array_equal(before.boxes[row], after.boxes[other])
    empty = Records.open(watched.stream, snapshot=1)
    empty.manifest.splits["train"] = SplitInfo(0, 0, [])
    with pytest.raises(UserError, match="must hold at least one example"):
        empty.move(images, "train")
    np.testing.assert_array_equal(images.take(np.arange(len(images))).images, after.images)
