"""Exports: each loaded by its own runtime in a process of its own, and whole or not at all."""

import base64
import contextlib
import dataclasses
import io
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfrecords.cli import main
from tfrecords.images.crop import CropSpec
from trainer.__main__ import COMMANDS
from trainer.export.files import predict_model
from trainer.export.formats import FORMATS, TOLERANCE, Format, compare_on_noise
from trainer.export.saved_model import write_saved_model
from trainer.run.directory import Run
from trainer.run.weights import load_model
from trainer.scoring.decode import Predictions, decode_predictions

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "serving.md").read_text()
NAMES = ("length", "digits", "confidence", "length_probabilities", "digit_probabilities")
ASK_KERAS = """
from trainer.scoring.decode import decode_predictions
outputs = reader(pictures.astype("float32"), training=False)
predictions = decode_predictions(outputs["length_logits"].numpy(), outputs["digit_logits"].numpy())
answers = {name: getattr(predictions, name) for name in names}
"""
ASK = {
    "savedmodel": "answers = reader(pictures=tf.stack([tf.io.encode_png(picture) for picture in pictures]))",
    "keras": ASK_KERAS,
    "h5": ASK_KERAS,
    "tflite": "answers = reader(image=pictures)",
    "onnx": "answers = dict(zip(names, reader.run(names, {'image': pictures})))",
    "graph": "answers = dict(zip(names, reader(tf.constant(pictures))))",
}
WITHOUT_TENSORFLOW = ("tflite", "onnx")
INSTALLED = [name for name in FORMATS if all(find_spec(module.partition(".")[0]) for module in FORMATS[name].needs)]
"""Formats whose libraries are here."""


@pytest.fixture(scope="module")
def run(untrained: Path) -> Run:
    return Run.load(untrained)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (7, 54, 54, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(run: Run, pictures: np.ndarray) -> Predictions:
    outputs = load_model(run)(pictures.astype(np.float32), training=False)
    return decode_predictions(outputs["length_logits"].numpy(), outputs["digit_logits"].numpy())


def export(*arguments: object) -> int:
    return main("trainer", "", COMMANDS, ["export", *map(str, arguments)])


@dataclasses.dataclass(frozen=True)
class Answered:
    """What a reader that was exported by itself predicts."""

    output: Path
    made: str
    """What `export` prints."""
    values: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def answered(run: Run, pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answered]:
    """Exports every format, and loads it by the very line that `export` prints, without our packages' code.

    The formats that need TensorFlow share a process, and the others one in which it was never imported.
    """
    folder = tmp_path_factory.mktemp("exported")
    np.save(folder / "pictures.npy", pictures)
    outputs = {name: folder / name / f"reader{FORMATS[name].ending}" for name in INSTALLED}
    made, programs = {}, {True: "", False: ""}
    for name, output in outputs.items():
        output.parent.mkdir()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert export("--run-dir", run.directory, "--output", output) == 0
        made[name], loading = printed.getvalue().splitlines()
        programs[name not in WITHOUT_TENSORFLOW] += f"""
{loading.removeprefix("Load it with: ")}
{ASK[name]}
np.savez("{name}.npz", **{{name: np.asarray(answers[name]) for name in names}})
"""
    for with_tensorflow, program in programs.items():
        program = f"""
import sys
import numpy as np
names, pictures = {NAMES}, np.load("pictures.npy")
{program}
assert {with_tensorflow} == ("tensorflow" in sys.modules)
"""
        command, environment = [sys.executable, "-c", program], {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return {name: Answered(outputs[name], made[name], dict(np.load(folder / f"{name}.npz"))) for name in INSTALLED}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.slow
def test_a_format_answers_as_the_model_does_in_another_process(
    answered: dict[str, Answered], expected: Predictions, name: str
) -> None:
    if name not in answered:
        pytest.skip(f"{' or '.join(FORMATS[name].needs)} is not installed: 'streetdigits[export]'")
    output, answers = answered[name].output, answered[name].values
    size = sum(path.stat().st_size for path in (output, *output.rglob("*")) if path.is_file())
    assert answered[name].made.startswith(f"{FORMATS[name].title} of compact ({size / 1e6:.1f} MB) in {output}")
    assert list(output.parent.iterdir()) == [output]
    assert np.ptp(expected.length_probabilities, axis=0).max() > 100 * TOLERANCE, "the answers are all the same"
    for one in ("confidence", "length_probabilities", "digit_probabilities"):
        np.testing.assert_allclose(answers[one], getattr(expected, one), atol=1e-5)
    np.testing.assert_array_equal(answers["length"], expected.length)
    np.testing.assert_array_equal(answers["digits"], expected.digits)


@pytest.fixture(scope="module")
def saved(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel for images as they are in the records."""
    folder = tmp_path_factory.mktemp("saved") / "reader"
    write_saved_model(load_model(run), CropSpec(growth=0.0, crop_size=54, record_size=54), run.labels, folder)
    return folder


@pytest.fixture(scope="module")
def reader(saved: Path) -> Any:
    return tf.saved_model.load(str(saved))


def test_a_saved_model_holds_each_weight_once(run: Run, saved: Path) -> None:
    count = load_model(run).count_params()
    written = (saved / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert 4 * count < written < 4.4 * count


def _block(number: int) -> dict[str, Any]:
    """A JSON block of docs/serving.md, by its place."""
    block: dict[str, Any] = json.loads(re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)[number])
    return block


def _served(reader: Any, body: str) -> dict[str, Any]:
    """What TensorFlow Serving makes of a request in row format, down to the signature and back to JSON."""
    request = json.loads(body)
    signature = reader.signatures[request.get("signature_name", "serving_default")]
    _, inputs = signature.structured_input_signature
    columns: dict[str, list[Any]] = {name: [] for name in inputs}
    for instance in request["instances"]:
        # One input without a name, or every input by name.
        named = {next(iter(inputs)): instance} if set(instance) == {"b64"} else instance
        assert set(named) == set(inputs)
        for name, value in named.items():
            is_bytes = isinstance(value, dict) and set(value) == {"b64"}
            columns[name].append(base64.b64decode(value["b64"], validate=True) if is_bytes else value)
    tensors = {name: tf.constant(values, inputs[name].dtype) for name, values in columns.items()}
    outputs = {name: value.numpy() for name, value in signature(**tensors).items()}
    rows = [{name: value[row] for name, value in outputs.items()} for row in range(len(request["instances"]))]
    return {
        "predictions": [
            {name: value.decode() if isinstance(value, bytes) else value.tolist() for name, value in row.items()}
            for row in rows
        ]
    }


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("number", [0, 1])
def test_the_documented_request_is_answered_as_documented(
    run: Run, reader: Any, pictures: np.ndarray, expected: Predictions, number: int
) -> None:
    request = _block(number)
    shapes = [(4, 4, 3), (60, 70, 3)]
    # The second request's box is 40 wide and 30 high at 10, 5: in it, a picture of even colour.
    even = np.full(shapes[1], 77, np.uint8)
    even[5:35, 10:50] = 200
    sent = [_png(even)] if number else [_png(picture) for picture in pictures[:2]]
    for instance, data in zip(request["instances"], sent, strict=True):
        place = instance if "b64" in instance else instance["pictures"]
        assert place["b64"] == "PICTURE"
        place["b64"] = base64.b64encode(data).decode()
    answer = json.loads(json.dumps(_served(reader, json.dumps(request))))
    documented = _block(2)
    assert set(answer) == set(documented)
    for row in answer["predictions"]:
        assert {name: type(value) for name, value in row.items()} == {
            name: type(value) for name, value in documented["predictions"][0].items()
        }
        assert len(row["digits"]) == 5 and len(row["length_probabilities"]) == 7
        assert [len(place) for place in row["digit_probabilities"]] == [10] * 5
    if number:
        flat = predict_model(load_model(run), np.full((1, 54, 54, 3), 200, np.uint8))
        np.testing.assert_allclose(answer["predictions"][0]["confidence"], flat["confidence"][0], atol=1e-5)
    else:
        assert [row["number"] for row in answer["predictions"]] == expected.texts[:2]
        np.testing.assert_allclose(
            [row["confidence"] for row in answer["predictions"]], expected.confidence[:2], atol=1e-5
        )


@pytest.mark.parametrize("name", FORMATS)
def test_the_documents_tell_each_format_s_output(name: str) -> None:
    names = " or ".join(f"reader{ending}" for ending in FORMATS[name].endings).replace(" or ", "` or `")
    assert f"| `--output {names}` |" in DOCUMENT


def _failing(run: Run, output: Path, monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> int:
    monkeypatch.setitem(FORMATS, name, dataclasses.replace(FORMATS[name], **changes))
    return export("--run-dir", run.directory, "--format", name, "--output", output, "--overwrite")


def _half(_: Any, __: Any, ___: Any, output: Path, ____: float) -> None:
    if output.suffix:
        output.write_bytes(b"half")
    else:
        (output / "variables").mkdir(parents=True)
    raise OSError("No space left on device")


@pytest.mark.parametrize("name", ["savedmodel", "keras"])
def test_an_export_that_fails_leaves_nothing_and_what_stood_there(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    output = tmp_path / f"reader{FORMATS[name].ending}"
    assert _failing(run, output, monkeypatch, name, write=_half) == 1
    assert capsys.readouterr().err == "error: No space left on device\n"
    assert list(tmp_path.iterdir()) == []
    if name == "savedmodel":
        output.mkdir()
        (output / "saved_model.pb").write_text("old")
    else:
        output.write_text("old")
    assert _failing(run, output, monkeypatch, name, write=_half) == 1
    assert list(tmp_path.iterdir()) == [output]
    assert (output / "saved_model.pb" if name == "savedmodel" else output).read_text() == "old"


@pytest.mark.parametrize("wrong", [0.25, float("nan")])
def test_an_export_that_answers_otherwise_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    def predict(_: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
        right = predict_model(load_model(run), pictures)
        return {name: value + wrong if name == "confidence" else value for name, value in right.items()}

    assert _failing(run, tmp_path / "reader.keras", monkeypatch, "keras", compare=compare_on_noise(predict)) == 1
    assert re.fullmatch(
        r"error: Keras file must predict as the model does, within 0\.0001: compact cannot be exported in this "
        r"format\. Received: a difference of (0\.25|nan)\n",
        capsys.readouterr().err,
    )
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_only_an_export_and_only_when_asked(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Writing and comparing a SavedModel, which take a second each, are tested above.
    def write(_: Any, __: Any, ___: Any, output: Path, ____: float) -> None:
        output.mkdir()
        (output / "saved_model.pb").touch()

    equal = dict.fromkeys(("length_probabilities", "digit_probabilities", "confidence"), (np.zeros(1), np.zeros(1)))
    monkeypatch.setitem(
        FORMATS, "savedmodel", dataclasses.replace(FORMATS["savedmodel"], write=write, compare=lambda *_: equal)
    )
    first, again = ("--run-dir", run.directory, "--output"), ("--overwrite",)
    assert export(*first, tmp_path / "reader.keras") == 0 == export(*first, tmp_path / "reader.keras", *again)
    assert export(*first, tmp_path / "reader.keras") == 1
    assert "use --overwrite to replace it" in capsys.readouterr().err
    assert export(*first, tmp_path / "reader") == 0
    (tmp_path / "reader" / "old").touch()
    assert export(*first, tmp_path / "reader", *again) == 0
    assert not (tmp_path / "reader" / "old").exists()
    photos = tmp_path / "photos.keras"
    photos.mkdir()
    (photos / "mine.jpg").touch()
    capsys.readouterr()
    for options in (("--format", "savedmodel"), ()):
        assert export(*first, photos, *options, *again) == 1
        assert (
            capsys.readouterr().err
            == f"error: --overwrite replaces only an export, never another folder. Received: {photos}\n"
        )
    assert (photos / "mine.jpg").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos.keras", "reader", "reader.keras"]


def test_a_file_s_ending_names_its_format(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export("--run-dir", run.directory, "--format", "onnx", "--output", tmp_path / "reader.h5") == 1
    expected = f"error: --output of the format ONNX file must end in .onnx. Received: {tmp_path / 'reader.h5'}\n"
    assert capsys.readouterr().err == expected
    assert export("--run-dir", run.directory, "--format", "h5", "--output", tmp_path / "reader.pb") == 1
    expected = "error: --output of the format Legacy Keras file must end in .h5 or .hdf5. Received: "
    assert capsys.readouterr().err == f"{expected}{tmp_path / 'reader.pb'}\n"


@pytest.mark.parametrize("name", ["r.pt", "r.ONNX", "r.pbtxt", "r.saved_model", "r.hdf", "r.1a"])
def test_an_unknown_ending_is_refused_and_makes_no_folder(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert export("--run-dir", run.directory, "--output", tmp_path / name) == 1
    assert capsys.readouterr().err == (
        "error: --output must end in .keras, .h5, .hdf5, .tflite, .onnx, .pb, or have no suffix: then it is the folder "
        f"of a SavedModel, which may have any name with --format savedmodel. Received: {tmp_path / name}\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "options"), [("1", ()), ("reader-1.5", ()), ("r.pt", ("--format", "savedmodel"))])
def test_a_folder_may_be_named_for_a_version_or_by_the_format(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: tuple[str, ...]
) -> None:
    chosen = []

    def export_model(kind: Format, *_: Any) -> float:
        chosen.append(kind)
        return 0.0

    monkeypatch.setattr("trainer.commands.export.export_model", export_model)
    assert export("--run-dir", run.directory, "--output", tmp_path / name, *options) == 0
    assert chosen == [FORMATS["savedmodel"]]


def test_an_export_that_tensorflow_cannot_write_is_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Any, __: Any, ___: Any, output: Path, ____: float) -> None:
        raise tf.errors.PermissionDeniedError(None, None, f"{output}; Permission denied\nand more")

    assert _failing(run, tmp_path / "reader", monkeypatch, "savedmodel", write=denied) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'reader'} cannot be written. Received: ")
    assert error.endswith("Permission denied\n") and error.count("\n") == 1
    (tmp_path / "file").write_text("mine")
    assert export("--run-dir", run.directory, "--output", tmp_path / "file" / "reader") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


OTHERWISE = {
    "decode_picture": lambda data: tf.io.decode_image(data, channels=3, expand_animations=False),  # the fast DCT
    "resize": lambda picture, size: tf.round(tf.image.resize(picture, size, "area")),
}


@pytest.mark.parametrize(("name", "other"), OTHERWISE.items(), ids=OTHERWISE)
def test_a_saved_model_that_cuts_pictures_otherwise_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, other: Any
) -> None:
    monkeypatch.setattr(f"trainer.export.saved_model.{name}", other)
    assert _failing(run, tmp_path / "reader", monkeypatch, "savedmodel", write=lambda *_: None) == 1
    assert re.fullmatch(
        r"error: A SavedModel must cut pictures out as predict does, within 1 grey value\. "
        r"Received: a difference of \d+ in a JPEG of \d+ x \d+\n",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize(("name", "module"), [(name, module) for name in FORMATS for module in FORMATS[name].needs])
def test_a_module_that_is_not_there_is_named_before_anything_is_written(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    module: str,
) -> None:
    if name not in INSTALLED:
        pytest.skip(f"{' or '.join(FORMATS[name].needs)} is not installed: the first of them would be named")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(FORMATS, name, dataclasses.replace(FORMATS[name], write=_half))
    assert export("--run-dir", run.directory, "--output", tmp_path / f"reader.{name}") == 1
    error = capsys.readouterr().err
    assert f"needs the module {module}: pip install 'streetdigits[export]'. Received: import of {module}" in error
    assert error.count("\n") == 1 and list(tmp_path.iterdir()) == []
