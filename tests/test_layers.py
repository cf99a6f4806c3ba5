"""The walls between the packages and between their rooms, and the libraries that each package needs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tfrecords", "beam_jobs", "trainer", "benchmarks", "streetdigits")
FORBIDDEN = {
    "beam_jobs": {"trainer", "tensorflow", "keras"},
    "tfrecords": {"beam_jobs", "trainer", "apache_beam", "tensorflow", "keras"},
    "trainer": {"beam_jobs", "apache_beam"},
}

# Small modules that every room may import. They import only each other.
_TOOLS = ("_version", "errors", "digests", "nested", "spawn", "flags", "cli", "interrupts", "progress", "typed_json")
TOOLS = {f"tfrecords.{name}" for name in _TOOLS}

# What each room may import besides itself and the tools. A room is a module, or a package with all that is in it; a
# module belongs to the most specific room. Names without a package are rooms of the same package. A room may import
# rooms of the lines above only, so the table cannot hold a circle.
ROOMS = {
    # One example and its bytes; pictures and crops of them; files of records; a directory of files, whose description
    # names its crops.
    "tfrecords.record": "",
    "tfrecords.images": "record",
    "tfrecords.files": "",
    "tfrecords.dataset": "record images files",
    # HTML pages of commands: skeleton, stylesheet, charts.
    "tfrecords.pages": "record files",
    "tfrecords.browse": "record images files dataset pages",
    # Doors to other ecosystems.
    "tfrecords.arrow": "record",
    "tfrecords.webdataset": "record",
    "tfrecords.detection": "record",
    "tfrecords.grain": "dataset",
    "tfrecords.torch": "dataset",
    "tfrecords.tfds": "files dataset",
    # croissant.json and README.md of a dataset.
    "tfrecords.cards": "record files dataset",
    "tfrecords.commands": "record images files dataset browse arrow webdataset detection cards",
    "tfrecords": "record images files dataset tfds",
    #
    "beam_jobs.annotation": "tfrecords.images",
    "beam_jobs.filesystem": "tfrecords.files",
    "beam_jobs.file_lock": "",
    "beam_jobs.sources.base": "annotation filesystem tfrecords.images tfrecords.files",
    "beam_jobs.sources.hdf5": "",
    # What sources of characters with boxes have in common.
    "beam_jobs.sources.grouping": "tfrecords.images",
    "beam_jobs.sources.marks": "annotation sources.grouping tfrecords.images",
    "beam_jobs.sources.pixels": "annotation sources.base sources.marks tfrecords.files",
    "beam_jobs.sources.layout": "sources.base tfrecords.files",
    "beam_jobs.sources.markup": "tfrecords.files",
    # Each source is a room: sources never import each other. The rooms above are no sources.
    "beam_jobs.sources.*": (
        "annotation filesystem sources.base sources.grouping sources.hdf5 sources.layout sources.marks sources.markup "
        "sources.pixels tfrecords.record tfrecords.images tfrecords.files"
    ),
    "beam_jobs.sources": "sources.base sources.*",
    "beam_jobs.sources.command": "sources sources.base",
    "beam_jobs.download": "file_lock filesystem tfrecords.files",
    # What the jobs that read a source have in common.
    "beam_jobs.job": "annotation sources sources.base tfrecords.images tfrecords.files",
    # OpenLineage's events of prepare and watch.
    "beam_jobs.lineage": "job sources.base tfrecords.record tfrecords.dataset",
    "beam_jobs.explore": (
        "annotation filesystem sources sources.base job tfrecords.images tfrecords.files tfrecords.pages"
    ),
    "beam_jobs.prepare": (
        "annotation filesystem file_lock sources sources.base job lineage "
        "tfrecords.record tfrecords.images tfrecords.files tfrecords.dataset tfrecords.cards"
    ),
    # A stream's generations are datasets of prepare.
    "beam_jobs.watch": (
        "annotation filesystem file_lock sources sources.base job lineage prepare "
        "tfrecords.record tfrecords.images tfrecords.files tfrecords.dataset tfrecords.cards"
    ),
    # A dataset of prepare, or the generations of a stream, made again.
    "beam_jobs.rebuild": (
        "filesystem sources sources.base job prepare watch tfrecords.record tfrecords.files tfrecords.dataset "
        "tfrecords.cards"
    ),
    # Synthetic pictures are written as SVHN publishes them.
    "beam_jobs.sample": "sources.svhn tfrecords.files",
    "beam_jobs": "",
    #
    "trainer.distribute": "",
    "trainer.run": "tfrecords.record tfrecords.images tfrecords.files tfrecords.dataset",
    "trainer.input": "run tfrecords.record tfrecords.images tfrecords.files tfrecords.dataset",
    # Test-time jitter cuts its windows as the input does.
    "trainer.scoring": "run input tfrecords.record tfrecords.images tfrecords.files",
    # The sizes of the heads are those of the labels.
    "trainer.models": "tfrecords.record",
    # Targets, loss, boxes and scores of models that find numbers.
    "trainer.finding": "run input tfrecords.files tfrecords.record tfrecords.images tfrecords.dataset",
    "trainer.pretrained": "run tfrecords.files tfrecords.dataset",
    # The modules of run that know the models' layers, and that build a model and may open the pretrained run: above
    # both, apart from their room.
    "trainer.run.transfer": "run models tfrecords.record",
    "trainer.run.weights": "run run.transfer models pretrained tfrecords.record tfrecords.files",
    # The choice of a runtime, and graphs of models for another one than TensorFlow.
    "trainer.lite": "distribute run run.weights scoring finding tfrecords.files tfrecords.dataset",
    "trainer.pretrained.__main__": "run lite pretrained tfrecords.files tfrecords.dataset",
    # What predict and streetdigits.load have in common.
    "trainer.reader": (
        "run run.weights input scoring lite pretrained tfrecords.images tfrecords.files tfrecords.dataset"
    ),
    "trainer.finding.finder": (
        "run run.weights input finding lite pretrained tfrecords.images tfrecords.files tfrecords.dataset"
    ),
    "trainer.photo_reader": "reader run finding finding.finder lite scoring tfrecords tfrecords.images",
    "trainer.finding_reader": "reader photo_reader run lite pretrained",
    "trainer.fit": (
        "distribute run run.weights input scoring finding models pretrained "
        "tfrecords.record tfrecords.files tfrecords.dataset"
    ),
    # What a network computes on the way to its outputs.
    "trainer.inside": "",
    "trainer.export": (
        "models scoring finding finding.finder photo_reader lite tfrecords.record tfrecords.images tfrecords.files"
    ),
    "trainer.report": (
        "run scoring finding inside "
        "tfrecords tfrecords.record tfrecords.images tfrecords.files tfrecords.pages tfrecords.dataset"
    ),
    # Pictures with what readers answer about them, in suspicions and a page.
    "trainer.audit": (
        "run input scoring reader tfrecords.record tfrecords.images tfrecords.files tfrecords.pages tfrecords.dataset"
    ),
    "trainer.commands": (
        "distribute run run.weights input scoring finding finding.finder models pretrained reader fit export inside "
        "report photo_reader lite audit "
        "tfrecords tfrecords.record tfrecords.images tfrecords.files tfrecords.pages tfrecords.dataset"
    ),
    "trainer": "",
    #
    "benchmarks.common": "tfrecords.files",
    "benchmarks.browse": "common tfrecords.*",
    "benchmarks.digit_struct": "common beam_jobs.*",
    "benchmarks.prepare": "common digit_struct beam_jobs beam_jobs.* tfrecords tfrecords.*",
    "benchmarks.cluster": "common prepare tfrecords tfrecords.*",
    "benchmarks.rebuild": "common prepare cluster tfrecords tfrecords.*",
    "benchmarks.sources": "common beam_jobs beam_jobs.* tfrecords tfrecords.*",
    "benchmarks.watch": "common beam_jobs.* tfrecords.*",
    "benchmarks.follow": "common watch beam_jobs.* tfrecords tfrecords.* trainer.*",
    "benchmarks.reading": "common beam_jobs beam_jobs.* tfrecords tfrecords.* trainer.*",
    "benchmarks.readers": "common tfrecords tfrecords.*",
    "benchmarks.stores": "common tfrecords tfrecords.*",
    "benchmarks.input": "common readers tfrecords tfrecords.* trainer.*",
    "benchmarks.store_steps": "common input tfrecords tfrecords.* trainer.*",
    "benchmarks.startup": "common",
    "benchmarks.steps": "common tfrecords tfrecords.* trainer.*",
    "benchmarks.gpu": "common tfrecords tfrecords.* trainer.*",
    "benchmarks.audit": "common beam_jobs beam_jobs.* tfrecords tfrecords.*",
    "benchmarks.systems": "common tfrecords tfrecords.* trainer.*",
    "benchmarks": "",
    #
    "streetdigits": "tfrecords beam_jobs trainer trainer.models trainer.reader trainer.finding_reader",
}


def _modules(package: str) -> dict[str, Path]:
    """Returns the modules of a package, or the module of this name, with their files."""
    paths = [*(ROOT / package).rglob("*.py"), *ROOT.glob(f"{package}.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return dict(zip(names, paths, strict=True))


MODULES = {name: path for package in PACKAGES for name, path in _modules(package).items()}


def _imports(path: Path) -> Iterator[str]:
    """Yields the imported names of a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imported_modules(path: Path) -> set[str]:
    """Returns the modules of our packages that a file imports."""
    found = set()
    for name in _imports(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {""}


def _room(module: str) -> str:
    """Returns the most specific room of a module; each child of a room that ends in `*` is a room."""
    if module in ROOMS:  # also a __main__ with a line of its own
        return module
    parts = module.removesuffix(".__main__").split(".")
    for size in range(len(parts), 0, -1):
        prefix = ".".join(parts[:size])
        # A package's own room holds its __init__ and __main__ only: a new room needs a line.
        if prefix in ROOMS and (size > 1 or len(parts) == 1):
            return prefix
        if size > 1 and f"{'.'.join(parts[: size - 1])}.*" in ROOMS:
            return prefix
    raise AssertionError(f"{module} belongs to no room: add a line to ROOMS")


def _allowed(line: str) -> list[str]:
    """Returns the patterns of the rooms that a line of the table allows, with their packages."""
    package = line.partition(".")[0]
    names = ROOMS[line].split()
    return [name if name.partition(".")[0] in PACKAGES else f"{package}.{name}" for name in names]


def _line(room: str) -> str:
    """Returns the line of the table that is a room's."""
    return room if room in ROOMS else f"{room.rpartition('.')[0]}.*"


def test_the_table_of_rooms_reads_from_the_bottom_to_the_top() -> None:
    above: list[str] = []
    for line in ROOMS:
        for pattern in _allowed(line):
            assert any(fnmatchcase(other, pattern) or fnmatchcase(pattern, other) for other in above), (line, pattern)
        above.append(line)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_imports_only_what_its_room_may(package: str) -> None:
    forbidden = []
    for module in sorted(set(_modules(package)) - TOOLS):
        room = _room(module)
        allowed = [room, *_allowed(_line(room))]
        forbidden += [
            f"{module} imports {imported}"
            for imported in sorted(_imported_modules(MODULES[module]) - TOOLS)
            if not any(fnmatchcase(_room(imported), pattern) for pattern in allowed)
        ]
    assert not forbidden


def test_tools_import_tools_only() -> None:
    for tool in TOOLS:
        assert _imported_modules(MODULES[tool]) <= TOOLS, tool


def test_rooms_that_import_each_other_are_found_whatever_the_table_says() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module not in TOOLS:
            found = {_room(name) for name in _imported_modules(path) - TOOLS}
            graph.setdefault(_room(module), set()).update(found - {_room(module)})
    while free := {room for room, imported in graph.items() if not imported & set(graph)}:
        graph = {room: imported for room, imported in graph.items() if room not in free}
    assert not graph, f"a circle: {graph}"


@pytest.mark.parametrize("package", ["tfrecords", "beam_jobs", "trainer"])
def test_no_machinery_imports_a_command(package: str) -> None:
    commands = {name for name in MODULES if name.endswith(".command") or ".commands." in name}
    for module, path in _modules(package).items():
        if module not in commands:
            assert not _imported_modules(path) & commands, module


def test_models_are_pure_keras() -> None:
    for path in (ROOT / "trainer" / "models").rglob("*.py"):
        assert not {name.partition(".")[0] for name in _imports(path)} & {"tensorflow", "jax", "torch"}, path
        assert not {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)} & {"tf"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_only_what_its_place_allows(package: str) -> None:
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        assert not {name.partition(".")[0] for name in _imports(path)} & FORBIDDEN[package], path


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


def test_tfrecords_imports_the_modules_of_its_public_names_with_their_first_use() -> None:
    program = """
import sys
import tfrecords
assert not {"numpy", "PIL"} & set(sys.modules)
assert set(tfrecords.__all__) <= set(dir(tfrecords))
assert tfrecords.open.__module__ == "tfrecords.dataset.reader" and tfrecords.record.labels.Labels is tfrecords.Labels
from tfrecords import *
try:
    tfrecords.nothing
except AttributeError as error:
    assert str(error) == "module 'tfrecords' has no attribute 'nothing'"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
