"""Numbers of other lengths and alphabets than SVHN's, images that are not square, and grey ones."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests import tiny
from tests.untrained import make_run
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.record.labels import Labels
from trainer.__main__ import COMMANDS
from trainer.export.saved_model import _predict
from trainer.export.saved_model import to_channels as to_channels_in_graph
from trainer.input import augment as augmentation
from trainer.input.augment import centre_window, random_window, warped_window
from trainer.input.records import Records
from trainer.models import MODELS, build_model
from trainer.pretrained import DIRECTORY
from trainer.reader import Reader
from trainer.report import render
from trainer.report.inputs import load_run
from trainer.run.config import AugmentConfig
from trainer.run.directory import CONFIG, Run, labels_text, write_json
from trainer.run.transfer import transfer
from trainer.run.weights import load_model, save_weights, start_from
from trainer.scoring.decode import decode_predictions
from trainer.scoring.inference import predict_split
from trainer.scoring.losses import evenness_loss, number_loss
from trainer.scoring.metrics import score
from trainer.scoring.prediction_output import PredictionPrinter, prediction_json

SMALL = Labels(3, "01.")
LETTERS = Labels(4, "AB-")


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64))
    return np.log(exponents / exponents.sum(-1, keepdims=True))


def _logits(labels: Labels, batch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    digits = rng.normal(0, 2, (batch, labels.max_length, labels.pad))
    return rng.normal(0, 2, (batch, labels.max_length + 2)), digits


def _every_number(labels: Labels) -> list[tuple[int, tuple[int, ...]]]:
    """Every length class with every choice of digits that it counts; the last class counts as many as the longest."""
    counts = [*range(labels.max_length + 1), labels.max_length]
    return [
        (length, digits)
        for length, count in enumerate(counts)
        for digits in itertools.product(range(labels.pad), repeat=count)
    ]


@pytest.mark.parametrize("labels", [SMALL, Labels(1), Labels(2, "x")])
def test_the_most_probable_number_is_that_of_all_numbers(labels: Labels) -> None:
    length_logits, digit_logits = _logits(labels, 40)
    length_logits[np.arange(40), np.arange(40) % (labels.max_length + 2)] += 4
    predictions = decode_predictions(length_logits, digit_logits, labels)
    lengths, places = _log_probabilities(length_logits), _log_probabilities(digit_logits)
    for row in range(40):
        everything = {
            number: lengths[row, number[0]] + sum(places[row, place, digit] for place, digit in enumerate(number[1]))
            for number in _every_number(labels)
        }
        length, digits = max(everything, key=everything.__getitem__)
        assert predictions.length[row] == length and tuple(predictions.digits[row, : len(digits)]) == digits
        assert predictions.confidence[row] == pytest.approx(np.exp(everything[length, digits]), rel=1e-12)
        assert predictions.texts[row] == labels.text(digits) + "…" * (length > labels.max_length)
    assert set(predictions.length.tolist()) == set(range(labels.max_length + 2))


def test_logits_of_other_labels_are_a_bug() -> None:
    with pytest.raises(ValueError, match=r"must be of the shapes .* Received: "):
        decode_predictions(*_logits(SMALL, 1), Labels(3, "01"))


def test_the_loss_is_the_likelihood_of_every_number() -> None:
    numbers = _every_number(SMALL)
    length_logits, digit_logits = (np.repeat(one, len(numbers), 0) for one in _logits(SMALL, 1))
    length = np.array([length for length, _ in numbers])
    digits = np.stack([SMALL.digits(SMALL.text(digits)) for _, digits in numbers])
    losses = np.asarray(number_loss(length_logits.astype(np.float32), digit_logits.astype(np.float32), length, digits))
    lengths, places = _log_probabilities(length_logits[0]), _log_probabilities(digit_logits[0])
    expected = [
        -lengths[length] - sum(places[place, digit] for place, digit in enumerate(digits)) for length, digits in numbers
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert np.exp(-losses.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    even = np.asarray(evenness_loss(length_logits, digit_logits, digits))
    by_hand = [-lengths.mean() - places.mean(-1)[: len(digits)].sum() for _, digits in numbers]
    np.testing.assert_allclose(even, by_hand, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("compact", (8, 8, 1), Labels(1)),
        ("compact", (12, 40, 1), Labels(32, "0123456789.")),
        ("goodfellow", (16, 40, 1), Labels(1)),
    ],
)
def test_architectures_take_any_shape_and_labels(name: str, shape: tuple[int, int, int], labels: Labels) -> None:
    outputs = build_model(name, shape, labels).output
    assert ("length_logits" in outputs) is (labels.max_length > 1)
    if labels.max_length > 1:
        assert outputs["length_logits"].shape == (None, labels.max_length + 2)
    assert outputs["digit_logits"].shape == (None, labels.max_length, labels.pad)


@pytest.mark.parametrize(
    ("shape", "locations"), [((54, 54, 3), 49), ((28, 112, 1), 56), ((8, 8, 1), 64), ((8, 40, 1), 40)]
)
def test_compact_does_not_halve_a_side_below_16_pixels(shape: tuple[int, int, int], locations: int) -> None:
    assert build_model("compact", shape).get_layer("features").output.shape == (None, locations, 128)


@pytest.mark.parametrize(("name", "least"), [("compact", 8), ("goodfellow", 16), ("vgg", 16)])
def test_images_too_small_for_an_architecture_are_refused(name: str, least: int) -> None:
    rule = f"{name} needs images of at least {least} x {least} pixels. Received: {least - 1} x 64"
    with pytest.raises(UserError, match=f"^{rule}$"):
        build_model(name, (least - 1, 64, 3))


def test_weights_of_the_package_start_a_model_of_other_numbers_and_of_grey_images() -> None:
    labels = Labels(8, ".9876543210")
    keras.utils.set_random_seed(0)
    model = build_model("compact", (54, 54, 1), labels)
    fresh = [value for value in model.get_weights() if value.shape == (128, 10)]
    told = start_from(model, "pretrained", {"channels": 1}, labels=labels)
    assert told == (
        "new: length_logits; kept in part: attention_logits, digit_logits; all other layers are kept. The weights are "
        "of numbers of up to 5 of '0123456789', the dataset of numbers of up to 8 of '.9876543210'. stem_conv is "
        "summed over the channels: the weights are of images with 3 channels."
    )
    source = load_model(Run.load(DIRECTORY))
    grey = np.random.default_rng(0).integers(0, 256, (2, 54, 54, 1)).astype(np.float32)
    expected, found = source(np.repeat(grey, 3, -1), training=False), model(grey, training=False)
    np.testing.assert_allclose(found["digit_logits"][:, :5, :0:-1], expected["digit_logits"], atol=2e-3)
    np.testing.assert_array_equal(fresh[0], next(one for one in model.get_weights() if one.shape == (128, 10)))
    back = build_model("compact", (54, 54, 3), labels)
    assert transfer(model, labels, back, labels).startswith("stem_conv is a third of the grey one in each of the")
    np.testing.assert_allclose(back(np.repeat(grey, 3, -1))["digit_logits"], found["digit_logits"], atol=2e-3)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Labels(), ""),
        (Labels(2), "new: length_logits; kept in part: flat_digit_logits; all other layers are kept"),
        (Labels(5, "9A0"), "kept in part: flat_digit_logits; all other layers are kept"),
        (Labels(1, "xy"), "new: flat_digit_logits, length_logits; all other layers are kept"),
        (Labels(1), "new: length_logits; kept in part: flat_digit_logits; all other layers are kept"),
    ],
)
def test_a_head_of_all_positions_keeps_those_that_both_have(wanted: Labels, told: str) -> None:
    source, target = tiny.build((12, 12, 3)), tiny.build((12, 12, 3), wanted)
    before = dict(zip([weight.path for weight in target.weights], target.get_weights(), strict=True))
    said = transfer(source, Labels(), target, wanted)
    assert said.partition(". ")[0] == told
    old, new = (model.get_layer("flat_digit_logits").get_weights()[0] for model in (source, target))
    old, new = old.reshape(32, 5, 10), new.reshape(32, wanted.max_length, wanted.pad)
    untouched = before["flat_digit_logits/kernel"].reshape(new.shape)
    for place, (index, one) in itertools.product(range(wanted.max_length), enumerate(wanted.alphabet)):
        kept = old[:, place, int(one)] if one.isdigit() else untouched[:, place, index]
        np.testing.assert_array_equal(new[:, place, index], kept)
    for layer in ("dense", "norm"):
        for ours, theirs in zip(*(model.get_layer(layer).get_weights() for model in (source, target)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", [(28, 112), (12, 12)])
def test_convolutions_start_a_model_of_images_of_another_size(size: tuple[int, int]) -> None:
    labels = Labels(9, "0123456789.")
    model = build_model("compact", (*size, 3), labels)
    before = {weight.path: weight.numpy() for weight in model.weights}
    cut = {"record_size": size[0], "crop_size": 60, "growth": 0.1, "aspect": size[1] / size[0]}
    assert start_from(model, "pretrained", cut, labels=labels) == (
        "new: layout_dense, attention_logits, length_logits; kept in part: digit_logits; all other layers are kept. "
        "The weights are of images of 54 x 54 and numbers of up to 5 of '0123456789', the dataset of images of "
        f"{size[0]} x {size[1]} and numbers of up to 9 of '0123456789.'. The images are cut with growth 0.1 instead of "
        "0.3."
    )
    source = {weight.path: weight.numpy() for weight in load_model(Run.load(DIRECTORY)).weights}
    for weight in model.weights:
        layer = weight.path.partition("/")[0]
        if layer == "digit_logits":
            np.testing.assert_array_equal(weight.numpy()[..., :10], source[weight.path])
            np.testing.assert_array_equal(weight.numpy()[..., 10:], before[weight.path][..., 10:])
        else:
            is_new = layer in ("layout_dense", "attention_logits", "length_logits")
            np.testing.assert_array_equal(weight.numpy(), (before if is_new else source)[weight.path])


def test_a_size_with_a_last_map_of_the_same_size_keeps_every_layer() -> None:
    model = build_model("compact", (56, 53, 3))
    assert start_from(model, "pretrained") == (
        "all layers are kept. The weights are of images of 54 x 54, the dataset of images of 56 x 53."
    )


def test_a_map_of_as_many_values_in_another_order_is_no_start_for_the_heads() -> None:
    labels = Labels()
    source, target = (build_model("compact", shape, labels) for shape in ((16, 64, 1), (32, 32, 1)))
    assert [one.shape for one in source.weights] == [one.shape for one in target.weights]
    told = transfer(source, labels, target, labels)
    assert told.startswith("new: layout_dense, attention_logits, length_logits; all other layers are kept. ")


def test_grey_is_pillow_s_and_the_graph_s_to_the_bit() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    grey = to_channels(colours, 1)
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(colours).convert("L")))
    np.testing.assert_array_equal(to_channels_in_graph(tf.constant(colours, tf.float32), 1), grey)
    np.testing.assert_array_equal(to_channels(to_channels(grey, 3), 1), grey)
    with pytest.raises(UserError, match=r"must have 1 or 3 channels\. Received: "):
        to_channels(colours[..., :2], 1)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of wide grey images of letters."""
    folder = tmp_path_factory.mktemp("letters") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", tiny.build)
        make_run(folder, LETTERS, (12, 20, 1), model="tiny")
        run = Run.load(folder)
        model = load_model(run)
        # Numbers of two, since a model that is hardly sure answers with none.
        model.get_layer("length_logits").bias.assign([0, 0, 9, 0, 0, 0])
        save_weights(model, run.weights)
        yield run


def test_a_model_of_grey_images_reads_colours_and_grey(letters: Run) -> None:
    reader = Reader(letters)
    colours = np.random.default_rng(1).integers(0, 256, (12, 20, 3), np.uint8)
    found = reader.read(colours)
    outputs = load_model(letters)(to_channels(colours, 1)[None].astype(np.float32), training=False)
    expected = decode_predictions(outputs["length_logits"].numpy(), outputs["digit_logits"].numpy(), LETTERS)
    assert found.text == expected.texts[0] and found.confidence == pytest.approx(expected.confidence[0], abs=1e-5)
    assert len(found.text) == 2 and set(found.text) <= set("AB-") and found.text == LETTERS.text(found.digits)
    assert reader.read(to_channels(colours, 1)).text == found.text
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG")
    assert reader.read(stream.getvalue()) == found


def test_a_graph_spells_numbers_as_predict_does() -> None:
    length_logits, digit_logits = _logits(LETTERS, 40)
    length_logits[np.arange(40), np.arange(40) % 6] += 9
    images, outputs = keras.Input((2, 3, 1)), {"length_logits": length_logits, "digit_logits": digit_logits}
    model = keras.Model(
        images, {name: keras.layers.Lambda(lambda _, x=one: x)(images) for name, one in outputs.items()}
    )
    numbers = _predict(model, tf.zeros((40, 2, 3, 1)), LETTERS)["number"].numpy()
    expected = decode_predictions(length_logits, digit_logits, LETTERS).texts
    assert [number.decode() for number in numbers] == expected and any(text.endswith("…") for text in expected)


def test_an_export_states_the_alphabet(letters: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    options = ["--run-dir", str(letters.directory), "--output", str(tmp_path / "reader.onnx")]
    assert main("trainer", "", COMMANDS, ["export", *options]) == 0
    assert "It predicts numbers of up to 4 of 'AB-'; its digits are indices" in capsys.readouterr().out
    stated = {one.key: one.value for one in onnx.load(tmp_path / "reader.onnx").metadata_props}
    assert stated == {"max_length": "4", "alphabet": "AB-"}


@pytest.mark.slow
def test_a_saved_model_of_letters_reads_colour_pictures_in_grey(letters: Run, tmp_path: Path) -> None:
    options = ["--run-dir", str(letters.directory), "--output", str(tmp_path / "reader")]
    assert main("trainer", "", COMMANDS, ["export", *options]) == 0
    serve = tf.saved_model.load(str(tmp_path / "reader")).signatures["serving_default"]
    files = []
    for one in np.random.default_rng(2).integers(0, 256, (3, 12, 20, 3), np.uint8):
        stream = io.BytesIO()
        Image.fromarray(one).save(stream, "PNG")
        files.append(stream.getvalue())
    reader = Reader(letters)
    numbers = serve(pictures=tf.constant(files))["number"].numpy()
    assert [number.decode() for number in numbers] == [reader.read(file).text for file in files]


def test_predictions_are_printed_by_their_characters(capsys: pytest.CaptureFixture[str]) -> None:
    labels = Labels(12, "0123456789.")
    length, digits = np.zeros((1, 14)), np.zeros((1, 12, 11))
    length[0, 12] = 50
    for place, character in enumerate("00012345.067"):
        digits[0, place, labels.alphabet.index(character)] = 50
    row = prediction_json("meter.png", decode_predictions(length, digits, labels), 0)
    assert row["number"] == "00012345.067" and row["digits"][8]["digit"] == 10 and row["digits"][8]["character"] == "."
    PredictionPrinter(json_array=False, json_lines=False).write([row])
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.index("confidence") == line.index("1.0000") - 4 and "5:1.000 .:1.000 0:1.000" in line


def test_evaluate_refuses_numbers_that_the_model_cannot_predict(
    records: Path, letters: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / CONFIG, {**letters.content, "image_shape": [54, 54, 3], "dataset": _as_svhn(Labels(4))})
    assert main("trainer", "", COMMANDS, ["evaluate", "--run-dir", str(tmp_path), "--data", str(records)]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path} was trained on numbers of up to 4 of '0123456789', and must be scored on those. "
        "Received: numbers of up to 5 of '0123456789'\n"
    )


def _as_svhn(labels: Labels) -> dict[str, Any]:
    return {**Run.load(DIRECTORY).content["dataset"], "max_length": labels.max_length, "alphabet": labels.alphabet}


def test_shorter_numbers_of_some_of_the_characters_are_scored() -> None:
    stored, labels = Labels(2, "10"), Labels(4, "01.")
    truth = ["1", "01", "00", ""]
    batch = {
        "image": tf.zeros((4, 1)),
        "length": tf.constant([len(text) for text in truth], tf.int64),
        "digits": tf.constant([stored.digits(text) for text in truth]),
        "key": tf.constant(list("abcd")),
    }
    length, digits = np.zeros((4, 6), np.float32), np.zeros((4, 4, 3), np.float32)
    for row, text in enumerate(["1", "01", ".0", ""]):
        length[row, len(text)] = 9
        for place, character in enumerate(text):
            digits[row, place, labels.alphabet.index(character)] = 9
    outputs = {"length_logits": tf.constant(length), "digit_logits": tf.constant(digits)}
    found = predict_split(lambda _: outputs, [batch], labels, stored)
    scores = score(found.predictions, found.length, found.digits)
    assert scores["whole_number_accuracy"] == 0.75 and scores["length_accuracy"] == 1
    assert scores["confusion"] == [[2, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert (scores["max_length"], scores["alphabet"]) == (4, "01.")
    assert [row["num_examples"] for row in scores["position_accuracy"]] == [3, 2]


def test_the_report_s_confusions_are_those_of_the_alphabet(letters: Run, tmp_path: Path) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 <"
    confusion = np.eye(38, dtype=int) * 120
    confusion[36, 37] = 7
    write_json(tmp_path / CONFIG, letters.content)
    evaluation = {"split": "test", "alphabet": alphabet, "confusion": confusion.tolist()}
    write_json(tmp_path / "evaluation-test.json", evaluation)
    page = render(load_run(tmp_path)).html
    assert '<th scope="col">Z</th>' in page and "Confused characters" in page
    assert '<tr><th scope="row">␣</th><td>&lt;</td><td class="n">7</td></tr>' in page
    write_json(tmp_path / "evaluation-test.json", {**evaluation, "alphabet": "AB"})
    with pytest.raises(UserError, match=r"confusion must be a list of 2 lists of 2 counts\."):
        load_run(tmp_path)
    write_json(tmp_path / "evaluation-test.json", {**evaluation, "alphabet": 12})
    with pytest.raises(UserError, match=r"alphabet must be a text\. Received: 12"):
        load_run(tmp_path)


def test_windows_need_not_be_square(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 40, 3), np.uint8)
    np.testing.assert_array_equal(centre_window(tf.constant(images), (12, 30)), images[:, 4:16, 5:35])
    places = tf.constant([[0.0, 0.999], [0.999, 0.0]])
    windows = random_window(tf.constant(images), (12, 30), places)
    np.testing.assert_array_equal(windows[0], images[0, :12, 10:])
    np.testing.assert_array_equal(windows[1], images[1, 8:, :30])
    turn = AugmentConfig(rotate=180.0)
    uniform = np.full((2, 6), 0.5, np.float32)
    uniform[1, 4] = 1.0
    for _ in range(2):
        warped = warped_window(tf.constant(images), (20, 40), turn, tf.constant(uniform)).numpy()
        np.testing.assert_allclose(warped[0], images[0], atol=0.1)
        np.testing.assert_allclose(warped[1], images[1, ::-1, ::-1], atol=0.1)
        monkeypatch.setattr(augmentation, "_resample_in_tensorflow", augmentation.resample_by_gathers)


@pytest.mark.parametrize(
    ("stated", "error"),
    [
        ({"max_length": 99}, "max_length must be 1..32. Received: 99"),
        ({"max_length": "5"}, "dataset: max_length must be an integer. Received: '5'"),
        ({"alphabet": "00"}, "alphabet must hold each character once, and has '0' again. Received: '00'"),
        ({"alphabet": ""}, "alphabet must be 1 to 255 printable characters. Received: ''"),
        ({"alphabet": None}, "dataset: alphabet must be a string. Received: None"),
    ],
)
def test_labels_of_a_damaged_configuration_are_refused(
    letters: Run, tmp_path: Path, stated: dict[str, Any], error: str
) -> None:
    write_json(tmp_path / CONFIG, {**letters.content, "dataset": {**letters.content["dataset"], **stated}})
    with pytest.raises(UserError) as raised:
        Run.load(tmp_path)
    assert str(raised.value).endswith(error) and "\n" not in str(raised.value)


def test_runs_and_datasets_of_the_last_version_have_svhn_s_labels(tmp_path: Path) -> None:
    content = json.loads((DIRECTORY / CONFIG).read_text())
    for newer in ("max_length", "alphabet"):
        del content["dataset"][newer]
    (tmp_path / CONFIG).write_text(json.dumps(content))
    run = Run.load(tmp_path)
    assert run.labels == Labels() and labels_text(run.labels) == "numbers of up to 5 of '0123456789'"
    described = Records.open(Path(__file__).parent / "schema1" / "raw").describe()
    assert (described["max_length"], described["alphabet"]) == (5, "0123456789")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_steps")
def test_single_characters_in_wide_grey_images_go_from_records_to_a_report(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    data, run_dir = str(tmp_path / "single"), str(tmp_path / "run")
    options = ["--source", "svhn", "--input", str(drawn), "--output", data, "--max-length", "1", "--channels", "1"]
    options += ["--crop-size", "14", "--record-size", "12", "--aspect", "1.5", "--jitters", "0"]
    options += ["--max-dead-fraction", "1", "--validation-fraction", "0"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    options = ["--model", "tiny", "--epochs", "1", "--zoom", "0.1"]
    for command in (
        ["train", "--data", data, "--run-dir", run_dir, *options],
        ["evaluate", "--data", data, "--run-dir", run_dir, "--split", "train", "--crops", "2"],
        ["predict", "--run-dir", run_dir, str(drawn / "test" / "1.png"), "--json"],
        ["report", "--run-dir", run_dir],
    ):
        capsys.readouterr()
        assert main("trainer", "", COMMANDS, command) == 0, capsys.readouterr().err
        if command[0] == "predict":
            (row,) = json.loads(capsys.readouterr().out)
            assert row["length_probabilities"] == [0.0, 1.0, 0.0]
    run = Run.load(Path(run_dir))
    assert run.labels == Labels(1) and run.image_shape == (12, 18, 1) and not run.reads_length
    assert list(load_model(run).output) == ["digit_logits"]
    scores = json.loads((run.directory / "evaluation-train.json").read_text())
    assert scores["max_length"] == 1 and len(scores["position_accuracy"]) == 1
    assert "<img src=" in (run.directory / "report.html").read_text()
