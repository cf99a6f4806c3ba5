"""What several tests share: one small drawn dataset, prepared once."""

import os
from pathlib import Path

import pytest

# Before any test imports TensorFlow: its start-up lines are not ours to answer for.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tfrecords.cli import main


@pytest.fixture(scope="session", autouse=True)
def two_devices(request: pytest.FixtureRequest) -> None:
    """Splits the processor into two logical devices, before TensorFlow starts: replicas to test with."""
    if any("trainer" in item.nodeid or "end_to_end" in item.nodeid for item in request.session.items):
        import tensorflow as tf

        (device,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as SVHN unpacks: 60 drawn pictures in train, 20 in test."""
    folder = tmp_path_factory.mktemp("drawn") / "svhn"
    options = ["--output", str(folder), "--count", "80", "--test-fraction", "0.25", "--jobs", "1"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["sample", *options]) == 0
    return folder


@pytest.fixture(scope="session")
def records(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset directory of the drawn pictures: five jitters, several shards, a validation split."""
    folder = tmp_path_factory.mktemp("records") / "svhn"
    options = ["--source", "svhn", "--input", str(drawn), "--output", str(folder)]
    options += ["--validation-fraction", "0.2", "--examples-per-shard", "80", "--seed", "3"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    return folder
