"""The `streetdigits` script: every command of the three packages under one name, light until one is called."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import streetdigits
from beam_jobs.__main__ import COMMANDS as BEAM_JOBS
from tfrecords.__main__ import COMMANDS as TFRECORDS
from tfrecords.cli import Command, main
from tfrecords.errors import UserError
from tfrecords.interrupts import SIGNALS
from trainer.__main__ import COMMANDS as TRAINER

ROOT = Path(__file__).parents[1]
HEAVY = ("apache_beam", "h5py", "keras", "matplotlib", "pyarrow", "tensorflow")


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _help(prog: str, commands: Sequence[Command], name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(prog, "", commands, [name, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_every_command_of_the_three_packages_is_there_once() -> None:
    assert {command.module for command in streetdigits.COMMANDS} == {
        command.module for command in (*BEAM_JOBS, *TFRECORDS, *TRAINER)
    }
    names = [command.name for command in streetdigits.COMMANDS]
    assert len(set(names)) == len(names)


def test_export_writes_a_model_and_export_records_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    modules = {command.name: command.module for command in streetdigits.COMMANDS}
    assert modules["export"] == "trainer.commands.export"
    assert modules["export-records"] == "tfrecords.commands.export"
    with pytest.raises(SystemExit):
        main("streetdigits", "", streetdigits.COMMANDS, ["--help"])
    assert "export-records" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prog", "commands", "name", "ours"),
    [
        ("python -m beam_jobs", BEAM_JOBS, "download", "download"),
        ("python -m tfrecords", TFRECORDS, "inspect", "inspect"),
        ("python -m tfrecords", TFRECORDS, "export", "export-records"),
        ("python -m trainer", TRAINER, "report", "report"),
    ],
)
def test_flags_and_help_are_those_of_the_package(
    prog: str, commands: Sequence[Command], name: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = _help(prog, commands, name, capsys)
    expected = theirs.replace(f"usage: {prog} {name} ", f"usage: streetdigits {ours} ", 1)
    # Usage lines wrap elsewhere below a program name of another length.
    assert _help("streetdigits", streetdigits.COMMANDS, ours, capsys).split() == expected.split()


def test_help_comes_without_the_heavy_libraries() -> None:
    done = _python(f"""
import sys
import streetdigits
sys.argv = ["streetdigits", "--help"]
try:
    streetdigits.run()
except SystemExit as end:
    assert end.code == 0
heavy = {{"numpy", *{HEAVY!r}}} & set(sys.modules)
assert not heavy, heavy
assert set(streetdigits.__all__) <= set(dir(streetdigits))
from streetdigits import *
assert open.__module__ == "tfrecords.dataset.reader" and Reader.__module__ == "trainer.reader"
""")
    assert done.returncode == 0, done.stderr
    assert all(command.name in done.stdout for command in streetdigits.COMMANDS)


def test_the_module_runs_as_a_program_too() -> None:
    command = [sys.executable, "-m", "streetdigits", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"streetdigits {streetdigits.__version__}\n"


def test_a_missing_module_of_ours_is_a_bug_and_is_raised() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"trainer\.commands\.nothing"):
        main("trainer", "", [Command("lost", "", "trainer.commands.nothing", extra="train")], ["lost"])


NAMES = ["Standardise", "Rescale", "TrainingStandardise", "Maxout", "SubtractiveNormalisation", "LocallyConnected"]
FAKE_KERAS = """
registered = []

class layers:
    Layer = object

class Model: ...

class ops: ...

class saving:
    register_keras_serializable = staticmethod(lambda package: registered.append)
"""


@pytest.mark.parametrize("names", ["streetdigits, keras", "keras, streetdigits", "trainer.models, keras, streetdigits"])
def test_keras_gets_our_layers_with_the_import_in_any_order(names: str, tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(FAKE_KERAS)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import importlib.util
import {names}
assert importlib.util.find_spec("keras")
assert [layer.__name__ for layer in keras.registered] == {NAMES}
"""
    done = _python(program)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def reader(untrained: Path) -> streetdigits.Reader:
    return streetdigits.load(untrained)


def test_a_picture_is_read_from_a_file_its_bytes_or_its_pixels(reader: streetdigits.Reader, drawn: Path) -> None:
    path = drawn / "test" / "1.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    found = reader.read(path)
    assert 0 < found.confidence <= 1 and found.digits == tuple(map(int, found.text.removesuffix("\u2026")))
    assert reader.read(str(path)) == reader.read(path.read_bytes()) == reader.read(pixels) == found
    height, width, _ = pixels.shape
    # A box of the picture is no box: the crop grows beyond it, where there is nothing.
    assert reader.read(path, box=(0, 0, width, height)).confidence > 0
    assert reader.read(path, box=(-1, 2, width / 2, height / 2)).confidence != found.confidence


def test_what_cannot_be_read_is_one_line(reader: streetdigits.Reader, drawn: Path, tmp_path: Path) -> None:
    path = drawn / "test" / "1.png"
    with pytest.raises(UserError, match=r"The box must have a width and height above 0\. Received: 1,2,0,4"):
        reader.read(path, box=(1, 2, 0, 4))
    with pytest.raises(
        UserError, match=r"must be \(height, width, 3\) uint8, or have one channel\. Received: \(4, 4\) float64"
    ):
        reader.read(np.zeros((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="The folder must hold pictures"):
        reader.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        reader.read(tmp_path / "gone.png")
    with pytest.raises(UserError, match="is not a run directory"):
        streetdigits.load(tmp_path)
    with pytest.raises(UserError, match=r"^memory://bucket/run is not a run directory: it has no config\.json\."):
        streetdigits.load("memory://bucket/run")
    with pytest.raises(UserError, match="path must not be empty"):
        streetdigits.load("")
    with pytest.raises(UserError, match=r"A picture must be a path, bytes or an array of pixels\. Received: NoneType"):
        reader.read(None)  # type: ignore[arg-type]


def test_what_it_returns_says_what_it_is(reader: streetdigits.Reader, untrained: Path, records: Path) -> None:
    assert repr(reader) == f"<Reader {untrained}: compact, reads numbers cut to 54 x 54 pixels>"
    examples = streetdigits.open(records, "test")
    assert repr(examples) == f"<Examples {records}, split test: 20 examples>"
    assert repr(examples[3:9]) == f"<Examples {records}, split test: 6 examples>"
    first = examples[0]
    assert repr(first) == f"<DigitExample {first.key}: {first.text}, image of 54 x 54 x 3 uint8>"
    prediction = streetdigits.Prediction("19", 0.5, (1, 9))
    assert repr(prediction) == "Prediction(text='19', confidence=0.5, digits=(1, 9), box=None, box_confidence=1.0)"


def test_the_pretrained_weights_are_the_default(drawn: Path) -> None:
    assert "pretrained" in repr(streetdigits.load())


def test_keras_on_another_backend_is_refused(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(UserError, match=r"Keras must run on TensorFlow: set KERAS_BACKEND=tensorflow\. Received: jax"):
        streetdigits.load(untrained)


def test_without_tensorflow_load_names_what_to_install(monkeypatch: pytest.MonkeyPatch, untrained: Path) -> None:
    def absent() -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr("trainer.distribute.startup.start_tensorflow", absent)
    needs = r"^The model of .+ needs tensorflow, which is not installed: pip install 'streetdigits\[train\]'\. Without"
    with pytest.raises(UserError, match=needs):
        streetdigits.load(untrained)


def test_loading_leaves_signals_to_the_program_that_loads(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook, an interrupt must not end the kernel and all its processes, as it ends a command."""
    found, before = [], [signal.getsignal(number) for number in SIGNALS]

    class Absent(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == "tensorflow":
                found.append([signal.getsignal(number) for number in SIGNALS])
                raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(UserError, match="needs tensorflow"):
        streetdigits.load(untrained)
    assert found == [before]
