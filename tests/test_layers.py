"""The walls between the packages: beam_jobs and trainer meet only in tfrecords, which is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "beam_jobs": {"trainer", "tensorflow", "keras"},
    "tfrecords": {"beam_jobs", "trainer", "apache_beam", "tensorflow", "keras"},
    "trainer": {"beam_jobs", "apache_beam"},
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_what_its_place_allows(package: str) -> None:
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        assert not _imports(path) & FORBIDDEN[package], path


def test_tfrecords_reads_and_writes_without_tensorflow_or_beam(records: Path, tmp_path: Path) -> None:
    program = f"""
import sys
for name in ("tensorflow", "apache_beam", "keras", "h5py"):
    sys.modules[name] = None  # any import of it now fails
from pathlib import Path
import tfrecords
from tfrecords import decode, encode
from tfrecords.files.framing import frame
examples = list(tfrecords.open({str(records)!r}, "test"))
assert len(examples) == 20
Path({str(tmp_path / "copy")!r}).write_bytes(b"".join(frame(encode(example)) for example in examples))
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    shards = sorted(records.glob("*-test.tfrecord-*"))
    assert (tmp_path / "copy").read_bytes() == b"".join(path.read_bytes() for path in shards)


@pytest.mark.parametrize("package", ["beam_jobs", "tfrecords", "trainer"])
def test_help_comes_without_the_heavy_libraries(package: str) -> None:
    program = f"""
import runpy, sys
sys.argv = [{package!r}, "--help"]
try:
    runpy.run_module({package!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0
heavy = {{"tensorflow", "apache_beam", "keras", "h5py", "pyarrow", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "COMMAND" in done.stdout


@pytest.mark.slow
def test_tensorflow_starts_without_lines_about_gpus_that_are_not_there() -> None:
    program = """
import os
from trainer.distribute.startup import start_tensorflow
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
start_tensorflow()
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
