"""Models on ONNX Runtime: the numbers of Keras, of the same weights, and chosen where that is right."""

import importlib.abc
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from trainer.finding.inference import make_peaks
from trainer.lite import runtime
from trainer.lite.runtime import BOXES, CONFIDENCE, LITE_MODEL, RUNTIMES, choose_runtime, open_lite
from trainer.lite.write import _places, _tensor
from trainer.pretrained import STREET, every
from trainer.run.directory import WEIGHTS, Run
from trainer.run.weights import load_model
from trainer.scoring.inference import make_forward

ROOT = Path(__file__).parents[1]
TOLERANCE = 1e-4
"""Largest difference of a logit, a probability or the edge of a box in pixels. Measured: 2e-5."""
MARGIN = 10
"""Pixels by which images are larger than the window that a model sees."""


@pytest.mark.parametrize("name", every())
def test_a_graph_of_the_package_computes_what_its_keras_model_does(name: str) -> None:
    run = Run.load(every()[name].directory)
    model, margin = load_model(run), 0 if name == "finder" else MARGIN
    height, width, channels = run.image_shape
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, height + margin, width + margin, channels), np.uint8)
    # Smooth images have few edges, and noise nothing else.
    ramp = np.broadcast_to(np.linspace(0, 255, width + margin).astype(np.uint8)[:, None], noise.shape[1:])
    images = np.stack([*noise, ramp])
    if name == "finder":
        expected = dict(zip((BOXES, CONFIDENCE), make_peaks(model)(tf.constant(images)), strict=True))
    else:
        expected = make_forward(model)(tf.constant(images))
    received = open_lite(run)(images)
    assert received.keys() == expected.keys()
    for key, values in expected.items():
        assert np.ptp(values) > 1e-3
        np.testing.assert_allclose(received[key], values, atol=TOLERANCE, rtol=0, err_msg=key)


def test_the_runtime_is_chosen_by_what_is_there(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, street = Run.load(untrained), Run.load(every()[STREET].directory)
    assert [choose_runtime(street, asked) for asked in RUNTIMES] == ["lite", "tensorflow", "lite"]
    assert [choose_runtime(own, asked) for asked in RUNTIMES[:2]] == ["tensorflow", "tensorflow"]
    with pytest.raises(UserError, match=r"^The runtime lite needs a model that comes with the package, as lite"):
        choose_runtime(own, "lite")
    with pytest.raises(UserError, match=r"^runtime must be one of auto, tensorflow, lite\. Received: fast$"):
        choose_runtime(street, "fast")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert choose_runtime(street) == "tensorflow"
    with pytest.raises(ModuleNotFoundError, match="onnxruntime"):
        choose_runtime(street, "lite")
    monkeypatch.setattr(runtime, "_is_installed", lambda module: False)
    with pytest.raises(ModuleNotFoundError, match="onnxruntime"):
        choose_runtime(street)


def test_a_runtime_that_cannot_be_imported_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "onnxruntime":
                raise ImportError("libgomp.so.1: no such file")

    street = Run.load(every()[STREET].directory)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert choose_runtime(street) == "tensorflow"
    told = "note: ONNX Runtime cannot be imported, TensorFlow is used: libgomp.so.1: no such file\n"
    assert capsys.readouterr().err == told
    with pytest.raises(UserError, match=r"ONNX Runtime cannot be imported\. Received: libgomp"):
        choose_runtime(street, "lite")


def test_a_graph_of_other_weights_or_a_damaged_one_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(every()["mnist"].directory, tmp_path / "mnist")
    run = Run.load(folder)
    assert choose_runtime(run) == "lite"
    graph = (folder / LITE_MODEL).read_bytes()
    (folder / LITE_MODEL).write_bytes(graph[200:])
    with pytest.raises(UserError, match=r"mnist/lite\.onnx must be a model that ONNX Runtime can load\. Received: "):
        open_lite(run)
    (folder / LITE_MODEL).write_bytes(graph)
    with run.weights.open("ab") as stream:
        stream.write(b"\0")
    assert choose_runtime(run) == "tensorflow"
    rule = "is of other weights, and is not used; `python -m trainer.pretrained` replaces it"
    assert capsys.readouterr().err == f"note: {folder / LITE_MODEL} {rule}\n"


def test_a_weight_is_named_by_its_place_in_the_weights_or_written_itself(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with h5py.File(tmp_path / WEIGHTS, "w") as file:
        file.create_dataset("layers/other", data=values + 1)
        file.create_dataset("layers/kernel", data=values)
        file.create_dataset("layers/chunks", data=values * 2, chunks=(1, 3))
    places = _places(tmp_path / WEIGHTS)
    named, written = _tensor(values, "a", places), _tensor(values * 2, "b", places)
    facts = {entry.key: entry.value for entry in named.external_data}
    assert facts["location"] == WEIGHTS and not named.raw_data
    start, length = int(facts["offset"]), int(facts["length"])
    stored = (tmp_path / WEIGHTS).read_bytes()[start : start + length]
    np.testing.assert_array_equal(np.frombuffer(stored, np.float32).reshape(2, 3), values)
    assert written.raw_data == (values * 2).tobytes() and not written.external_data


WITHOUT_TENSORFLOW = """
import importlib.abc, json, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "jinja2", "h5py"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
import streetdigits
from tfrecords.cli import main

photo, own = sys.argv[1:]
codes = [main("streetdigits", "", streetdigits.COMMANDS, ["predict", photo, *words])
    for words in ([], ["--weights", "mnist"], ["--run-dir", own], ["--runtime", "tensorflow"])]
reader = streetdigits.load()
found = reader.read(photo)
print(json.dumps([codes, found.text, found.confidence]))
try:
    streetdigits.load(own)
except streetdigits.UserError as error:
    print(error)
"""


def test_photos_are_read_without_tensorflow_and_a_run_says_what_it_needs(drawn: Path, untrained: Path) -> None:
    photo = str(drawn / "test" / "1.png")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, photo, str(untrained)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    head, row, _, digit, answers, error = done.stdout.splitlines()
    codes, text, confidence = json.loads(answers)
    assert codes == [0, 0, 1, 1] and head.startswith("photo ") and len(digit.split()[1]) == 1
    assert row.split()[1:3] == [text, f"{confidence:.4f}"]
    needs = "needs tensorflow, which is not installed: pip install 'streetdigits[train]'. Without it, ONNX Runtime"
    assert error.startswith(f"The model of {untrained} {needs}")
    assert done.stderr.count(needs) == 2


class _Photos:
    """Numbers of a photo as the package's weights give them, on either runtime."""

    def __init__(self, name: str, folder: Path) -> None:
        from trainer.finding_reader import load

        self.reader = load("pretrained", runtime=name)
        self.files = sorted(folder.glob("*.png"))[:4]

    def numbers(self) -> list[Any]:
        return [self.reader.read_all(file) for file in self.files]


def test_both_runtimes_find_and_read_the_same(drawn: Path) -> None:
    lite, keras = (_Photos(name, drawn / "test") for name in ("lite", "tensorflow"))
    assert (lite.reader.runtime, keras.reader.runtime) == ("lite", "tensorflow")
    for ours, theirs in zip(lite.numbers(), keras.numbers(), strict=True):
        assert [one.text for one in ours] == [one.text for one in theirs] != []
        for one, other in zip(ours, theirs, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=TOLERANCE)
            assert one.box_confidence == pytest.approx(other.box_confidence, abs=TOLERANCE)
            assert (one.box is None) == (other.box is None)
            np.testing.assert_allclose(one.box or (), other.box or (), atol=1e-2)
