"""A frozen graph: the documented C++ program reads with it as the model does, without Python's TensorFlow."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.export import frozen_graph
from trainer.export.frozen_graph import predict_graph, write_graph
from trainer.models import build_model
from trainer.scoring.decode import Predictions, decode_predictions

ROOT = Path(__file__).parents[1]
(PROGRAM,) = re.findall(r"^```cpp\n(.*?)^```$", (ROOT / "docs" / "serving.md").read_text(), re.MULTILINE | re.DOTALL)
LABELS = Labels(max_length=1)
CALL = """
import ctypes, sys
program, folder, *words = sys.argv[1:]
for name in ("framework", "cc"):
    ctypes.CDLL(f"{folder}/libtensorflow_{name}.so.2", ctypes.RTLD_GLOBAL)
words = [word.encode() for word in [program, *words]]
code = ctypes.CDLL(program).main(len(words), (ctypes.c_char_p * len(words))(*words))
ctypes.CDLL(None).fflush(None)
assert "tensorflow" not in sys.modules
sys.exit(code)
"""
"""Runs the program, compiled as a library: linking it to TensorFlow's library of 1 GB would take 5 s of a core."""


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("optdigits_cnn", (8, 8, 1), LABELS)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def expected(model: keras.Model, images: np.ndarray) -> Predictions:
    logits = model(images.astype(np.float32), training=False)["digit_logits"]
    return decode_predictions(None, logits.numpy(), LABELS)


@pytest.fixture(scope="module")
def graph(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "reader.pb"
    write_graph(model, path)
    return path


def test_it_is_one_graph_of_constants_and_the_same_bytes_each_time(
    model: keras.Model, graph: Path, tmp_path: Path
) -> None:
    definition = tf.compat.v1.GraphDef.FromString(graph.read_bytes())
    kinds = {node.op for node in definition.node}
    assert not [kind for kind in kinds if "Variable" in kind or "Resource" in kind]
    assert not definition.library.function
    (placeholder,) = (node for node in definition.node if node.op == "Placeholder")
    assert placeholder.name == "image" and placeholder.attr["dtype"].type == tf.uint8.as_datatype_enum
    assert 4 * model.count_params() < graph.stat().st_size < 4.4 * model.count_params()
    write_graph(model, tmp_path / "again.pb")
    assert (tmp_path / "again.pb").read_bytes() == graph.read_bytes()


def test_an_output_keeps_its_name_where_the_model_has_it_too(images: np.ndarray, tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1), name="image")
    logits = keras.layers.Dense(10, name="length")(keras.layers.Flatten(name="confidence")(inputs))
    logits = keras.layers.Reshape((1, 10), name="digit_logits")(logits)
    model = keras.Model(inputs, {"digit_logits": logits}, name="digits")
    write_graph(model, tmp_path / "reader.pb")
    found = decode_predictions(None, model(images.astype(np.float32))["digit_logits"].numpy(), LABELS)
    predictions = predict_graph(tmp_path / "reader.pb", images)
    np.testing.assert_array_equal(predictions["digits"], found.digits)
    np.testing.assert_array_equal(predictions["length"], 1)
    np.testing.assert_allclose(predictions["confidence"], found.confidence, atol=1e-5)


@pytest.mark.slow
def test_the_documented_program_reads_with_the_c_api(
    graph: Path, images: np.ndarray, expected: Predictions, tmp_path: Path
) -> None:
    compiler, spec = shutil.which("g++"), find_spec("tensorflow")
    folder = Path(next(iter((spec and spec.submodule_search_locations) or [""])))
    needed = (folder / "include" / "tensorflow" / "c" / "c_api.h", folder / "libtensorflow_cc.so.2")
    if not compiler or not all(path.is_file() for path in needed):
        pytest.skip("no g++, or no C headers and library in the package tensorflow")
    (tmp_path / "read_number.cpp").write_text(PROGRAM)
    options = ["-std=c++17", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{folder / 'include'}"]
    program = tmp_path / "read_number.so"
    subprocess.run([compiler, *options, str(tmp_path / "read_number.cpp"), "-o", str(program)], check=True)
    (tmp_path / "digit.raw").write_bytes(images[2].tobytes())

    def read(path: Path) -> subprocess.CompletedProcess[str]:
        words = [str(program), str(folder), str(path), str(tmp_path / "digit.raw"), "8", "8", "1"]
        return subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True)

    done = read(graph)
    assert done.returncode == 0, done.stderr
    digit, confidence = done.stdout.split()
    assert int(digit) == expected.digits[2, 0]
    assert float(confidence) == pytest.approx(expected.confidence[2], abs=1e-5)
    damaged = tmp_path / "damaged.pb"
    damaged.write_bytes(graph.read_bytes()[:-7])
    done = read(damaged)
    assert done.returncode == 1 and "error: Invalid GraphDef" in done.stderr


def test_weights_that_no_graph_can_hold_are_refused(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dropout has states of its own.
    size = sum(variable.numpy().nbytes for variable in model.variables)
    monkeypatch.setattr(frozen_graph, "_MOST_BYTES", size - 1)
    with pytest.raises(UserError, match=rf"at most {size - 1:,} bytes of weights: .* Received: {size:,} bytes$"):
        write_graph(model, tmp_path / "reader.pb")
    assert not list(tmp_path.iterdir())
