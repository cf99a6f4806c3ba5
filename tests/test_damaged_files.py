"""Damaged and hostile files of a dataset or a run: a fixed set of mutations, read as the commands read them.

Each is accepted, or an error of one line that names the file; nothing else is raised. Ten thousand of each kind were
tried by hand with other seeds.
"""

import json
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfrecords
from beam_jobs.prepare.annotations_table import SCHEMA
from beam_jobs.prepare.publish_shard import ShardResult
from tests import tiny
from tests.mutate import mutate_bytes, mutate_json
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_errors, find_manifest_errors
from tfrecords.commands.inspect import format_manifest
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.index import index_path
from tfrecords.files.place import Place
from tfrecords.files.record_file import RecordFile
from tfrecords.record.labels import Labels
from trainer.fit.checkpoint import Checkpoints, Progress
from trainer.models import MODELS
from trainer.pretrained.__main__ import publish
from trainer.report.inputs import load_run
from trainer.report.page import render
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, EVALUATION, HISTORY, PREDICTIONS, WEIGHTS, Run, model_input_shape
from trainer.run.weights import load_model, save_weights
from trainer.scoring.prediction_file import read_predictions

Mutations = Iterator[bytes]


def _of_bytes(data: bytes, count: int, seed: int = 0) -> Mutations:
    rng = random.Random(seed)
    return (mutate_bytes(data, rng) for _ in range(count))


def _of_json(content: Any, count: int, seed: int = 0) -> Mutations:
    rng = random.Random(seed)
    data = json.dumps(content).encode()
    return (mutate_bytes(data, rng) if n % 4 == 0 else mutate_json(content, rng).encode() for n in range(count))


def _try_all(mutations: Mutations, path: Path, read: Callable[[], object]) -> int:
    """Reads each mutation of a file, and returns how many were refused."""
    refused = 0
    for data in mutations:
        path.write_bytes(data)
        try:
            read()
        except UserError as error:
            # A manifest may contradict an index, which is named then.
            assert path.name in str(error) or "as the manifest states" in str(error), error
            assert "\n" not in str(error) and len(str(error)) < 600, error
            refused += 1
    return refused


# --- a dataset


@pytest.fixture
def copy(records: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records, tmp_path / "copy"))


def test_manifests(copy: Path) -> None:
    def read() -> None:
        manifest = Manifest.load(copy)
        format_manifest(manifest, copy)
        model_input_shape(manifest)
        for split in manifest.splits:
            examples = tfrecords.open(copy, split, manifest=manifest)
            if len(examples) and (copy / manifest.split(split).shards[-1].file).is_file():
                examples[-1]

    content = json.loads((copy / MANIFEST).read_text())
    assert _try_all(_of_json(content, 400), copy / MANIFEST, read) > 250


def test_what_the_schema_of_the_manifest_accepts_is_read(records: Path) -> None:
    """But for sizes that contradict each other, and numbers that JSON's schema takes for integers."""
    content = json.loads((records / MANIFEST).read_text())
    for data in _of_json(content, 150, seed=1):
        errors: list[str] = []
        try:
            errors = list(find_manifest_errors(data, "m.json"))
            Manifest.parse(data, "m.json")
        except UserError as error:
            known = "must be a JSON object|schema.version|bytes or more|fit a record|2\\^53|UTF-8|must be an integer\\."
            assert errors or re.search(known, str(error)), error
        assert all("\n" not in error for error in errors)


def test_indexes(copy: Path) -> None:
    shard = str(copy / Manifest.load(copy).split("train").shards[0].file)
    index = Path(index_path(shard))

    def read() -> None:
        file = RecordFile(shard)
        if len(file):
            file[0], file[-1]

    assert _try_all(_of_bytes(index.read_bytes(), 300), index, lambda: _naming(shard, index, read)) > 200


def _naming(shard: str, index: Path, read: Callable[[], None]) -> None:
    """Runs `read`; an error may name the shard that an index describes in place of the index."""
    try:
        read()
    except UserError as error:
        raise UserError(str(error).replace(shard, str(index))) from error


def test_tables_of_annotations(copy: Path) -> None:
    """`validate` prints an error, and does not end."""
    manifest = Manifest.load(copy)
    for shard in (shard for split in manifest.splits.values() for shard in split.shards):
        (copy / shard.file).unlink()
    expected = list(find_errors(copy, manifest))
    for data in _of_bytes((copy / ANNOTATIONS).read_bytes(), 60):
        (copy / ANNOTATIONS).write_bytes(data)
        assert len(list(find_errors(copy, manifest))) >= min(len(expected), 3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "must be a Parquet file. Received: "),
        (b"PAR1" * 100, "must be a Parquet file. Received: "),
        (pa.table({"key": ["a"]}), "must have the columns key, reason, each once. Received: ['key']"),
        (pa.table({"key": [1], "reason": ["a"]}), "the column key must hold strings. Received: int64"),
        (pa.table({"key": ["a"], "reason": [[1]]}), "the column reason must hold strings. Received: list<"),
        (pa.table({"key": pa.array([None], pa.string()), "reason": ["a"]}), "these have nulls. Received: ['key']"),
    ],
)
def test_validate_prints_what_is_wrong_with_a_table(
    copy: Path, table: pa.Table | bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / ANNOTATIONS
    path.write_bytes(table) if isinstance(table, bytes) else pq.write_table(table, path)
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if str(path) in line and "SHA" not in line]
    assert line.startswith(f"error: {path}") and message in line


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dead_letters", {"too_long": "3"}, "dead_letters.too_long must be an integer. Received: '3'"),
        ("splits", "train", "splits must be an object. Received: 'train'"),
        ("config", [], "config must be an object. Received: []"),
        ("versions", {"numpy": None}, "versions.numpy must be a string. Received: None"),
        ("sources", {"a": 1}, "sources must be a list. Received: {'a': 1}"),
        ("image", {"shape": [54, 54], "encoding": "raw"}, "image.shape must be a list of 3. Received: [54, 54]"),
        ("image", {"shape": [10**9, 10**9, 3], "encoding": "raw"}, "an image must fit a record"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "show", "export"])
def test_every_command_refuses_a_manifest_with_a_wrong_value(
    copy: Path, field: str, value: object, message: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**content, field: value}))
    options = {"inspect": [], "show": ["--output", str(copy / "x.png")]}
    options["export"] = ["--to", "arrow", "--output", str(copy / "out")]
    assert main("tfrecords", "", COMMANDS, [command, str(copy), *options[command]]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {copy / MANIFEST}: ") and message in printed and printed.count("\n") == 1


def test_a_manifest_names_no_file_outside_its_directory(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    content["splits"]["test"]["shards"][0]["file"] = "../other/svhn-test.tfrecord-00000-of-00001"
    (copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"splits\.test\.shards\[0\]\.file must be a shard's name"):
        tfrecords.open(copy, "train")


def test_a_manifest_cannot_write_to_the_terminal(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    content["config"]["note"] = "\x1b[2J\nforged line\ud800"
    (copy / MANIFEST).write_text(json.dumps(content))
    assert main("tfrecords", "", COMMANDS, ["inspect", str(copy)]) == 0
    assert r"note \x1b[2J\nforged line\ud800" in capsys.readouterr().out


def test_results_of_an_interrupted_prepare(records: Path, tmp_path: Path) -> None:
    info = json.loads((records / MANIFEST).read_text())["splits"]["train"]["shards"][0]
    table = pq.read_table(records / ANNOTATIONS).cast(SCHEMA).replace_schema_metadata({b"shard": json.dumps(info)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    plan: Any = SimpleNamespace(results=Place(tmp_path))
    path = tmp_path / f"{info['file']}.arrow"
    data = sink.getvalue().to_pybytes()
    path.write_bytes(data)
    assert ShardResult.load(plan, info["file"]).info.sha256 == info["sha256"]
    assert _try_all(_of_bytes(data, 150), path, lambda: ShardResult.load(plan, info["file"])) > 50


# --- a run


def test_configurations(untrained: Path, tmp_path: Path) -> None:
    content = json.loads((untrained / CONFIG).read_text())
    assert _try_all(_of_json(content, 250), tmp_path / CONFIG, lambda: Run.load(tmp_path)) > 120


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 2.5}, r"config\.json: epochs must be an integer\. Received: 2\.5"),
        ({"augment": None}, r"an object with an object `augment`"),
        ({"augment": {"zoom": "1"}}, r"config\.json: augment\.zoom must be a number\. Received: '1'"),
        ({"augment": {"zoom": 3}}, r"config\.json: augment is wrong: zoom must be 0\.\.1\. Received: 3"),
        ({"image_shape": [54, 54]}, r"config\.json: image_shape must be a list of 3\."),
        ({"image_shape": [54, 10**9, 3]}, r"config\.json: image_shape\[1\] must be an integer of 1 to 65536\."),
        ({"dataset": 5}, r"config\.json: dataset\.crop must be an object\. Received: None"),
        ({"dataset": {"crop": {"growth": "x"}}}, r"config\.json: dataset\.crop: growth must be a number\. Rec"),
    ],
)
def test_a_wrong_configuration_is_named(untrained: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads((untrained / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match=message):
        Run.load(tmp_path)


def test_a_dataset_that_does_not_state_its_crop_is_one_line(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    for crop, message in ((None, "must be an object"), ({"growth": []}, "growth must be a number")):
        content["config"]["crop"] = crop
        with pytest.raises(UserError, match=rf"manifest\.json of svhn: config\.crop.* {message}"):
            model_input_shape(Manifest.parse(json.dumps(content).encode(), "m"))


_LINE = {"epoch": 1, "step": 5, "seconds": 1.5, "train_loss": 0.5, "learning_rate": 0.1, "validation_loss": 0.4}
_ROW = {"position": 1, "length": 1, "num_examples": 5, "accuracy": 0.5, "whole_number_accuracy": 0.5}
_EVALUATION = {
    "split": "test",
    "data": "nowhere",
    "loss": 0.5,
    "whole_number_accuracy": 0.8,
    "whole_number_accuracy_interval": [0.7, 0.9],
    "num_examples": 100,
    "position_accuracy": [_ROW],
    "by_length": [_ROW],
    "confusion": [[1] * 10] * 10,
}


@pytest.mark.parametrize(("name", "content"), [(HISTORY, _LINE), (EVALUATION, _EVALUATION)])
def test_curves_and_scores(untrained: Path, tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    """The page of a run shows them, or one line says what is wrong."""
    shutil.copy(untrained / CONFIG, tmp_path)
    mutations = (data + b"\n" + json.dumps({**_LINE, "epoch": 2}).encode() + b"\n" for data in _of_json(content, 40))
    refused = _try_all(
        mutations if name == HISTORY else _of_json(content, 40), tmp_path / name, lambda: render(load_run(tmp_path))
    )
    assert refused > 5


def test_predictions(tmp_path: Path) -> None:
    columns = {"key": [f"{n}" for n in range(50)], "number": ["12"] * 50, "answer": ["12", "3"] * 25}
    table = pa.table({**columns, "confidence": [n / 50 for n in range(50)], "correct": [True, False] * 25})
    path = tmp_path / PREDICTIONS
    pq.write_table(table, path)
    assert _try_all(_of_bytes(path.read_bytes(), 100), path, lambda: read_predictions(path)) > 50
    pq.write_table(table.set_column(3, "confidence", [["high"] * 50]), path)
    with pytest.raises(UserError, match=r"the column confidence must hold numbers\. Received: string"):
        read_predictions(path)


def test_checkpoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a checkpoint holds, it is restored or skipped with a warning."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    progress = Progress(epoch=1, history=[dict(_LINE)], best=dict(_LINE))
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(5, progress, model, optimizer)
    path = tmp_path / "step-0000000005.npz"
    whole = path.read_bytes()
    arrays = dict(np.load(path))
    assert checkpoints.restore(model, optimizer) == progress

    def is_skipped() -> bool:
        caplog.clear()
        restored = checkpoints.restore(model, optimizer)
        assert restored is not None or len(caplog.messages) == 1
        return restored is None

    refused = 0
    for data in _of_bytes(whole, 120):
        path.write_bytes(data)
        refused += is_skipped()
    for text in _of_json(asdict(progress), 60):
        np.savez(path, **{**arrays, "progress": np.array(text.decode(errors="replace"))})
        refused += is_skipped()
    assert refused > 100
    wrong_type = {name: value.astype(str) if name.startswith("model/") else value for name, value in arrays.items()}
    np.savez(path, **wrong_type)
    assert is_skipped() and "is of another model or optimizer" in caplog.text


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    model = tiny.build((54, 54, 3))
    monkeypatch.setitem(MODELS, "tiny", lambda *_: model)
    path = tmp_path / WEIGHTS
    save_weights(model, path)
    run = Run(tmp_path, TrainConfig(model="tiny"), (54, 54, 3), None, Labels(), True, {})  # type: ignore[arg-type]
    assert _try_all(_of_bytes(path.read_bytes(), 20), path, lambda: load_model(run)) > 5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_no_model(
    tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    model = tiny.build((54, 54, 3))
    first = model.weights[0]
    values = first.numpy()
    values.flat[-1] = value
    first.assign(values)
    save_weights(model, tmp_path / WEIGHTS)
    run = Run(tmp_path, TrainConfig(model="tiny"), (54, 54, 3), None, Labels(), True, {})  # type: ignore[arg-type]
    rule = r"weights must be finite\. Received: NaN or infinite values in norm/gamma$"
    with pytest.raises(UserError, match=rf"{WEIGHTS}: {rule}"):
        load_model(run)


def test_weights_of_a_model_with_fewer_layers_do_not_leave_random_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = keras.Input((54, 54, 3), name="image")
    small = keras.Model(images, keras.layers.Flatten(name="flat")(images), name="tiny")
    save_weights(small, tmp_path / WEIGHTS)
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    run = Run(tmp_path, TrainConfig(model="tiny"), (54, 54, 3), None, Labels(), True, {})  # type: ignore[arg-type]
    with warnings.catch_warnings(), pytest.raises(UserError, match=r"must hold the weights of tiny\. Received: "):
        warnings.simplefilter("ignore")
        load_model(run)


@pytest.mark.parametrize("text", ["{}", "[]", '{"whole_number_accuracy_interval": "ab"}'])
def test_weights_are_not_copied_into_the_package_with_damaged_scores(
    untrained: Path, tmp_path: Path, text: str
) -> None:
    run_dir = Path(shutil.copytree(untrained, tmp_path / "run"))
    (run_dir / EVALUATION).write_text(text)
    with pytest.raises(UserError, match=r"evaluation\.json must be a JSON object|must have all scores"):
        publish(run_dir, tmp_path / "package", "")
    assert not (tmp_path / "package").exists()
