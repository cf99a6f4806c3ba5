"""What several tests share: a small drawn dataset and its records, each made once per test run."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

# While tests are collected nothing is freed, but the collector looks for garbage among all that is imported: a quarter
# of the time of importing TensorFlow, PyTorch and Beam.
gc.disable()

# Before any test imports TensorFlow: its start-up lines are not ours to answer for.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Before any test imports datasets: nothing is to be looked up, nor counted.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tests compile more than they compute.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests import collector, quick_disk
from tests.failing_proxy import Proxy, proxying
from tests.long_first import long_first
from tests.offline import attempts, refuse_other_machines
from tests.stores import Bucket, forget_buckets, serving_s3, share_models, use_store
from tfrecords.cli import main
from tfrecords.files import remote

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    # The workers share the cores: TensorFlow and PyTorch would each start a thread per core in each of them.
    threads = str(max(1, (os.cpu_count() or 1) // WORKERS))
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, threads)

refuse_other_machines()
quick_disk.do_not_wait()

Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.hookimpl(trylast=True)  # when those that are not to run are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest modules at the start of each worker's share."""
    if WORKERS > 1:
        items[:] = long_first(items, WORKERS, lambda item: item.path.name)


def pytest_collection_finish() -> None:
    """Starts garbage collection, which passes over what is imported."""
    collector.pass_over_imports()
    # At Python's default of 700 objects, the collector took 5 % of the tests' time.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def two_devices(request: pytest.FixtureRequest) -> None:
    """Splits the processor into two logical devices, before TensorFlow starts: replicas to test with."""
    if any("trainer" in item.nodeid or "end_to_end" in item.nodeid for item in request.session.items):
        import tensorflow as tf

        (device,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Fails a test that has reached for another machine, also where the library has made the best of the refusal."""
    yield
    reached = [*attempts]
    attempts.clear()
    assert not reached, f"reached for other machines: {reached}"


@pytest.fixture
def quick_steps(two_devices: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trains on one device and runs graphs as they are traced: for tests of neither replicas nor speed.

    A step of two replicas is traced twice, and TensorFlow's graph optimizer takes longer than small graphs run.
    """
    import tensorflow as tf

    from trainer.distribute import strategy

    monkeypatch.setattr(strategy, "make_strategy", lambda *_: tf.distribute.OneDeviceStrategy("/cpu:0"))
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Returns a function that fills a folder of a name once, whichever of pytest-xdist's workers asks first."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker's temporary folders are in one of its own

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, complete = root / "shared" / name, root / "shared" / f"{name}.complete"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "shared" / f"{name}.lock"):
            if not complete.exists():
                fill(folder)
                complete.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def drawn(shared: Shared) -> Path:
    """A folder as SVHN unpacks: 60 drawn pictures in train, 20 in test."""

    def fill(folder: Path) -> None:
        options = ["--output", str(folder / "svhn"), "--count", "80", "--test-fraction", "0.25", "--jobs", "1"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["sample", *options]) == 0

    return shared("drawn", fill) / "svhn"


@pytest.fixture(scope="session")
def records(drawn: Path, shared: Shared) -> Path:
    """A dataset directory of the drawn pictures: five jitters, several shards, a validation split."""

    def fill(folder: Path) -> None:
        options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder / "svhn")]
        options += ["--validation-fraction", "0.2", "--examples-per-shard", "80", "--seed", "3"]
        assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0

    return shared("records", fill) / "svhn"


@pytest.fixture(scope="session")
def untrained(shared: Shared) -> Path:
    """A run directory of a model that has learned nothing. Copy it to write to it: workers share it."""

    def fill(folder: Path) -> None:
        from tests.untrained import make_run

        make_run(folder / "run")

    return shared("untrained", fill) / "run"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on loopback."""
    share_models()
    with serving_s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new bucket of the server, which the environment names."""
    use_store(s3_endpoint, monkeypatch)
    yield Bucket(s3_endpoint)
    forget_buckets(s3_endpoint)


@pytest.fixture
def proxy(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the server, which the environment names; boto3 of `Bucket(s3_endpoint)` goes past it."""
    # As many attempts as ever, at once: what passes here passes when the proxy has failed as often as a test asks.
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0, 0.0))
    with proxying(s3_endpoint) as running:
        use_store(running.url, monkeypatch)
        yield running
    forget_buckets(s3_endpoint)
