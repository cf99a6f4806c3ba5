"""The benchmark of GPUs: without TensorFlow, on every installed backend; counts, input and choice checked by hand."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tfrecords
from benchmarks.gpu import backends as gpu_backends
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.backends import Choice, choose
from benchmarks.gpu.flops import forward_flops, peak_flops, step_flops
from benchmarks.gpu.input import Joined, Source, device_batches
from benchmarks.gpu.report import report
from benchmarks.gpu.run import Job, Pace, Result, _check_model, _common_form
from tests import on_backend
from tfrecords.errors import UserError
from trainer.models import build_model
from trainer.run.config import TrainConfig
from trainer.scoring.metrics import score

ROOT = Path(__file__).parents[1]
BACKENDS = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]

ON_BACKEND = """
import sys
sys.modules["tensorflow"] = None  # any import of it now fails
from pathlib import Path
from tests.on_backend import main
sys.exit(main(*map(Path, sys.argv[1:])))
"""


class OnBackend:
    """Results and output of `tests.on_backend`."""

    def __init__(self, backend: str, records: Path, folder: Path) -> None:
        result = folder / "result.npz"
        # One thread: on a busy machine PyTorch's threads wait for each other, thirty times as long as they work.
        environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
        # Keras's variables do not support NumPy 2's copy keyword (3.15).
        warnings = ["-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning"]
        # Not -m: the reader that main starts would import this backend too.
        command = [sys.executable, *warnings, "-c", ON_BACKEND, str(records), str(result)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.backend, self.printed, self.arrays = backend, done.stdout.splitlines(), dict(np.load(result))


@pytest.fixture(scope="module", params=BACKENDS)
def there(request: pytest.FixtureRequest, records: Path, tmp_path_factory: pytest.TempPathFactory) -> OnBackend:
    return OnBackend(request.param, records, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", on_backend.NAMES)
@pytest.mark.slow
def test_a_model_answers_alike_on_every_backend(name: str, there: OnBackend) -> None:
    for head, expected in on_backend.outputs(name, on_backend.build(name)).items():
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(there.arrays[head], expected, atol=1e-4)


@pytest.mark.parametrize("name", on_backend.AUGMENT)
@pytest.mark.slow
def test_pictures_are_augmented_alike_on_every_backend(name: str, there: OnBackend) -> None:
    expected = on_backend.augmented(name)
    assert expected.shape == (5, 18, 18, 3) and expected.std() > 10
    np.testing.assert_allclose(there.arrays[f"{name}/augmented"], expected, atol=1e-3)


@pytest.mark.slow
def test_the_loss_falls_and_the_average_of_the_weights_learns_too(there: OnBackend) -> None:
    losses = there.arrays["losses"]
    assert losses[-2] < losses[0] - 1 and losses[-1] < losses[0] - 1
    assert losses[-1] != losses[-2]


@pytest.mark.slow
def test_the_command_trains_scores_and_measures_without_tensorflow(there: OnBackend, records: Path) -> None:
    assert there.printed[0] == f"Backend: {there.backend}, as asked for, on CPU."
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in there.printed if line.startswith("|")]
    scored = {row[1]: int(row[2]) for row in rows if row[0] == str(records)}
    assert scored == {split: len(tfrecords.open(records, split)) for split in ("validation", "test")}
    values = {row[0]: row[1] for row in rows}
    assert values["steps after those"].startswith("3 in ") and float(values["images/s on real input"]) > 0
    assert values["operations per image and step"].startswith("0.229 GFLOP")
    assert there.printed[-1].startswith("compact after ")


@pytest.mark.slow
def test_operations_are_as_many_as_pytorch_counts(there: OnBackend) -> None:
    if there.backend != "torch":
        pytest.skip("PyTorch's own count")
    for name in on_backend.NAMES:
        forward, step, torch_forward, torch_step = there.arrays[f"{name}/flops"]
        assert forward == torch_forward > 0, name
        # PyTorch leaves out the first layer's gradient of the images: a fifth of a step where there are few layers.
        assert torch_step <= step < 1.25 * torch_step, name


def test_operations_are_counted_as_by_hand() -> None:
    layers = keras.layers
    images = keras.Input((10, 12, 3))
    values = layers.Conv2D(8, (3, 5), strides=2, padding="same")(images)
    values = layers.Conv2D(4, 1, groups=2)(layers.BatchNormalization()(values))
    model = keras.Model(images, layers.Dense(7)(layers.Flatten()(layers.Dense(6)(values))))
    places = 5 * 6
    products = places * (3 * 5 * 3) * 8 + places * (8 // 2) * 4 + places * 4 * 6 + (places * 6) * 7
    assert forward_flops(model) == 2 * products and step_flops(model) == 6 * products
    with pytest.raises(TypeError, match="counted"):
        forward_flops(keras.Model(images, layers.SeparableConv2D(4, 3)(images)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_chip_s_peak_is_a_speed(dtype: str) -> None:
    assert 1e6 < peak_flops(dtype, 64) < 1e16


@pytest.mark.parametrize("readers", [0, 1])
def test_an_epoch_has_every_example_of_all_datasets_once(readers: int, records: Path) -> None:
    examples = tfrecords.open(records, "train")
    stored = sorted(example.image.tobytes() for example in examples)
    source = Source((records, records), len(examples) // 4, 14, seed=1)
    with device_batches(source, readers, lambda batch: batch) as batches:
        epochs = [[next(batches) for _ in range(8)] for _ in range(2)]
    assert len(examples) % 4 == 0
    for epoch in epochs:
        assert sorted(image.tobytes() for batch in epoch for image in batch["image"]) == sorted(stored * 2)
    assert epochs[0][0]["image"].tobytes() != epochs[1][0]["image"].tobytes()
    for index, batch in enumerate(epochs[0]):
        assert batch["digits"].dtype == batch["length"].dtype == np.int32
        np.testing.assert_equal(batch, source.read(index))
    assert epochs[0][0]["uniform"].shape == (len(examples) // 4, 14)
    assert not np.array_equal(epochs[0][0]["uniform"], epochs[0][1]["uniform"])


def test_joined_examples_are_taken_from_all_parts_in_the_order_asked_for(records: Path) -> None:
    train, test = tfrecords.open(records, "train"), tfrecords.open(records, "test")
    joined = Joined([train[:3], test[:0], test])
    assert len(joined) == 3 + len(test)
    indices = [4, 0, len(joined) - 1, 2, 3, 0]
    batch = joined.batch(indices, ("key", "image"))
    every = [*train[:3], *test]
    assert batch["key"].tolist() == [every[index].key for index in indices]
    np.testing.assert_array_equal(batch["image"], [every[index].image for index in indices])
    assert joined.batch([2], ("key",))["key"].tolist() == [every[2].key]
    with pytest.raises(IndexError):
        joined.batch([len(joined)], ("key",))


def test_a_backend_that_does_not_answer_sees_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu_backends.PROBES, "jax", "import time; time.sleep(60)")
    monkeypatch.setattr(gpu_backends, "_PROBE_S", 0.2)
    assert gpu_backends.find_gpu("jax") == ""


def _pretend(monkeypatch: pytest.MonkeyPatch, gpus: dict[str, str]) -> None:
    """Pretends that the packages in `gpus` are installed and see a GPU of that name, or none."""
    monkeypatch.setattr(gpu_backends.importlib.util, "find_spec", lambda name: name if name in gpus else None)
    monkeypatch.setattr(gpu_backends, "find_gpu", lambda name: gpus[name])


@pytest.mark.parametrize(
    ("gpus", "wish", "expected"),
    [
        ({"jax": "", "torch": "G1"}, "auto", ("torch", "G1", "torch, which sees a GPU: G1.")),
        ({"jax": "G1", "torch": "G1"}, "auto", ("jax", "G1", "jax, which sees a GPU: G1.")),
        (
            {"torch": "", "tensorflow": ""},
            "auto",
            ("torch", "CPU", "torch on the CPU: none of torch, tensorflow sees a GPU."),
        ),
        ({"jax": "G1", "torch": ""}, "torch", ("torch", "CPU", "torch, as asked for, on CPU.")),
    ],
)
def test_the_backend_is_the_one_with_a_gpu(
    gpus: dict[str, str], wish: str, expected: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, gpus)
    assert choose(wish) == Choice(*expected)


def test_a_backend_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, {"torch": ""})
    with pytest.raises(SystemExit) as end:
        main(["--data", "nowhere", "--backend", "jax"])
    said = "error: --backend must be a package that is installed here: torch. Received: jax\n"
    assert end.value.code == 1 and capsys.readouterr().err == said
    _pretend(monkeypatch, {})
    with pytest.raises(UserError, match="One of jax, torch, tensorflow must be installed"):
        choose("auto")


def test_a_batch_larger_than_the_data_is_refused(records: Path) -> None:
    with pytest.raises(UserError, match=r"at most the \d+ training examples. Received: 100000"):
        Source((records,), 100_000, 14, 0).read(0)


def test_the_report_s_figures_follow_from_the_result(tmp_path: Path) -> None:
    scores = _scores(right=90, total=100)
    job = Job((tmp_path,), TrainConfig(global_batch_size=100), "tf32", 10.0, 0, 1, 8192)
    # 100 steps of 100 images in 2 s: 5,000 per second; resident 6,250, of 2 GFLOP each: 12.5 of 50 TFLOP/s.
    result = Result(
        1234, 2 * 10**9, 3.0, Pace(100, 2.0, (1.5,)), Pace(50, 0.8, (1.0,)), 50e12, ((tmp_path, "test", scores),)
    )
    lines = report(job, Choice("jax", "G1", ""), result)
    text = "\n".join(lines)
    for part in ("90.00%", "82.56% to 94.48%", "5,000", "6,250", "12.500 TFLOP/s", "50.000 TFLOP/s", "25.0%", "1,234"):
        assert part in text, part
    assert lines[-2].startswith("FAIL  real input: 0.800 of the speed")
    assert lines[-1] == f"compact after 0.03 min on G1: 90.00% of {tmp_path}'s test."
    assert "Without a GPU" not in text and "Without a GPU" in "\n".join(report(job, Choice("jax", "CPU", ""), result))


def _scores(right: int, total: int) -> dict:
    from trainer.scoring.decode import decode_predictions

    logits = np.zeros((total, 7)), np.zeros((total, 5, 10))
    logits[0][:, 1] = 9.0
    logits[1][:, :, 3] = 9.0
    digits = np.full((total, 5), 10)
    digits[:right, 0], digits[right:, 0] = 3, 4
    return score(decode_predictions(*logits), np.ones(total, np.int64), digits)


def test_a_model_that_needs_statistics_or_penalties_is_refused(records: Path) -> None:
    for name in ("barcode", "mnist_vgg"):
        with pytest.raises(UserError, match=rf"--model must have neither penalties .* Received: {name}$"):
            _check_model(build_model(name, (28, 28, 1)))
    _check_model(build_model("mnist_cnn", (28, 28, 1)))
    assert _common_form((records,))[2]
