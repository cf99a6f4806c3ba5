"""Every command's command line: what it imports, what it refuses, and what it prints for that."""

import argparse
import contextlib
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import streetdigits
from beam_jobs.download import command as download
from beam_jobs.watch.stream import Stream
from tests.drawn_streams import STREAMED
from tests.stores import Bucket
from tfrecords.cli import Command, HelpFormatter, Parser, main
from tfrecords.files.place import Place
from trainer.commands import evaluate

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("apache_beam", "cv2", "h5py", "imagecodecs", "jinja2", "keras", "matplotlib", "onnxruntime", "tensorflow"),
    "torch",
)
"""Libraries of the extras, and those that are slow to import."""
NAMES = [command.name for command in streetdigits.COMMANDS]
REQUIRED = {
    "sample": ["--output", "made"],
    "download": ["--output", "made"],
    "sources": [],
    "explore": ["--source", "svhn", "--input", "svhn", "--output", "made.html"],
    "prepare": ["--source", "svhn", "--input", "svhn", "--output", "made"],
    "rebuild": ["records", "--input", "svhn"],
    "watch": ["--source", "svhn", "--input", "inbox", "--output", "made"],
    "status": ["made"],
    "compact": ["stream"],
    "snapshots": ["stream"],
    "watch-job": ["--stream", "stream"],
    "inspect": ["records"],
    "validate": ["records"],
    "index": ["records"],
    "export-records": ["records", "--to", "parquet", "--output", "made"],
    "diff": ["records", "others"],
    "show": ["records", "--output", "made.png"],
    "browse": ["records"],
    "train": ["--data", "records", "--run-dir", "made"],
    "evaluate": ["--run-dir", "run", "--data", "records"],
    "calibrate": ["--run-dir", "run", "--data", "records"],
    "predict": ["photo.png"],
    "export": ["--output", "made"],
    "summary": [],
    "report": ["--run-dir", "run"],
    "audit": ["--data", "records", "--output", "made.html"],
    "explain": ["--data", "records"],
}
"""Arguments that each command cannot do without."""
REFUSED = [
    ["sample", "--output", "made", "--count", "1"],
    ["sample", "--output", "made", "--jobs", "0"],
    ["sample", "--output", "made", "--style", "wild"],
    ["download", "--output", "made", "--subset", "all"],
    ["explore", *REQUIRED["explore"], "--growth", "-1"],
    ["explore", *REQUIRED["explore"], "--pattern", "(x)"],
    ["prepare", *REQUIRED["prepare"], "--jitters", "-1"],
    ["prepare", *REQUIRED["prepare"], "--tset-fraction", "0.1"],
    ["prepare", *REQUIRED["prepare"], "--encoding", "gif"],
    ["prepare", *REQUIRED["prepare"], "--runner", "DataflowRunner"],
    ["explore", *REQUIRED["explore"], "--runner", "DataflowRunner"],
    ["rebuild", *REQUIRED["rebuild"]],
    ["rebuild", *REQUIRED["rebuild"], "--workers", "0"],
    ["rebuild", *REQUIRED["rebuild"], "--jiters", "0"],
    ["watch", *REQUIRED["watch"], "--pictures", "0"],
    ["watch", *REQUIRED["watch"], "--after", "burn"],
    ["watch", *REQUIRED["watch"], "--once", "--until-idle", "5"],
    ["watch", *REQUIRED["watch"], "--limit", "5"],
    ["watch", *REQUIRED["watch"], "--runner", "DataflowRunner"],
    ["status"],
    ["compact", "stream"],
    ["snapshots", "stream", "--pin", "name"],
    ["snapshots", "stream", "--pin", "name", "3", "--unpin", "name"],
    ["watch-job", *REQUIRED["watch-job"]],
    ["watch-job", *REQUIRED["watch-job"], "--runner", "DataflowRunner"],
    ["export-records", *REQUIRED["export-records"], "--jobs", "0"],
    ["show", "records", "--output", "made.png", "--scale", "0"],
    ["browse", "records", "--port", "65536"],
    ["browse", "records", "--output", "made", "--count", "0"],
    ["browse", "records", "--overwrite"],
    ["diff", "records"],
    ["diff", *REQUIRED["diff"], "--limit", "-1"],
    ["diff", *REQUIRED["diff"]],
    ["inspect", "records", "--snapshot", "-1"],
    ["validate", "records", "--snapshot", "newest"],
    ["train", *REQUIRED["train"], "--epochs", "abc"],
    ["train", *REQUIRED["train"], "--epochs", "0"],
    ["train", *REQUIRED["train"], "--model", "compcat"],
    ["train", "--data", "records"],
    ["train", *REQUIRED["train"]],
    ["evaluate", *REQUIRED["evaluate"], "--crops", "0"],
    ["evaluate", *REQUIRED["evaluate"]],
    ["predict", "photo.png", "--batch-size", "0"],
    ["predict", "photo.png", "--box", "1,2,3"],
    ["predict", "photo.png", "--run-dir", "run"],
    ["predict"],
    ["predict", "--data", "records", "--output", "made.csv"],
    ["export", "--output", "made.onnx", "--format", "tflite"],
    ["summary", "--model", "compcat"],
    ["summary", "--model", "compact", "--run-dir", "run"],
    ["summary", "--run-dir", "run", "--max-length", "1"],
    ["summary", "--model", "compact", "--image-shape", "28x28"],
    ["summary", "--model", "compact", "--image-shape", "4x4x1"],
    ["summary", "--model", "compact", "--alphabet", "aa"],
    ["report", "--run-dir", "run", "--nothing"],
    ["audit", *REQUIRED["audit"], "--most", "0"],
    ["audit", "--data", "records", "--output", "made.txt"],
    ["explain", "--data", "records", "--examples", "0"],
    ["explain", "--data", "records", "--box", "1,2,3,4"],
    ["explain", "--data", "records", "--picture", "photo.png", "--box", "1,2"],
    ["explain", "--data", "records"],
]
"""Options that are refused."""
RUN_ALL = """
import contextlib, importlib.abc, io, json, sys

hidden = set(sys.argv[2].split())

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
import streetdigits
from beam_jobs.download import command as download
from tfrecords.cli import main
results = []
for argv in json.load(sys.stdin):
    shown, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):
        try:
            code = main("streetdigits", "", streetdigits.COMMANDS, argv)
        except SystemExit as end:
            code = end.code
    heavy = sorted(set(sys.argv[1].split()) & set(sys.modules))
    results.append([argv, code, shown.getvalue(), errors.getvalue(), heavy])
json.dump(results, sys.__stdout__)
"""
Result = tuple[list[str], int, str, str, list[str]]


def run_all(folder: Path, lines: list[list[str]], hidden: Sequence[str] = ()) -> list[Result]:
    """Runs command lines one after the other in one process, as if the hidden libraries were not installed.

    Returns:
      Arguments, exit code, standard output, standard error and imported heavy libraries of each.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-c", RUN_ALL, " ".join(HEAVY), " ".join(hidden)]
    done = subprocess.run(
        command, cwd=folder, env=environment, input=json.dumps(lines), capture_output=True, text=True, check=True
    )
    return [tuple(result) for result in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Results of every command's help."""
    return run_all(tmp_path_factory.mktemp("help"), [[name, "--help"] for name in NAMES])


def test_help_comes_without_the_heavy_libraries_and_fits_80_columns(helps: list[Result]) -> None:
    for argv, code, shown, errors, heavy in helps:
        assert (code, errors, heavy) == (0, "", []), argv
        assert not [line for line in shown.splitlines() if len(line) > 80], argv


def test_a_refused_option_is_one_line_without_the_heavy_libraries_and_makes_nothing(tmp_path: Path) -> None:
    pass_through = ("explore", "prepare", "rebuild", "watch", "watch-job")
    lines = [[name, *REQUIRED[name], "--no-such-thing", "1"] for name in NAMES if name not in pass_through]
    for argv, code, shown, errors, heavy in run_all(tmp_path, [*REFUSED, *lines]):
        assert code in (1, 2) and shown == "", argv
        lines_ = [line for line in errors.splitlines() if not line.startswith(("Using the weights", "SVHN"))]
        assert len(lines_) == 1 and lines_[0].startswith("error: "), (argv, errors)
        assert heavy == [], argv
    assert not list(tmp_path.iterdir())


def _installs(argv: list[str], errors: str, extra: str) -> bool:
    last = errors.splitlines()[-1]
    needs = rf"error: {argv[0]} needs \w+, which is not installed: pip install 'streetdigits\[{extra}\]'"
    return re.fullmatch(needs, last) is not None and "Traceback" not in errors


@pytest.mark.parametrize("hidden", [HEAVY, ("apache_beam", "tensorflow", "keras", "jinja2", "h5py", "onnxruntime")])
def test_without_the_extras_help_works_and_a_command_names_what_to_install(
    drawn: Path, records: Path, tmp_path: Path, hidden: tuple[str, ...]
) -> None:
    run, photo = str(ROOT / "trainer" / "pretrained"), str(drawn / "test" / "1.png")
    Stream(Place(tmp_path / "stream"), STREAMED).save()
    own = tmp_path / "run"
    own.mkdir()
    (own / "config.json").write_bytes((ROOT / "trainer" / "pretrained" / "config.json").read_bytes())
    lines = {
        "compact": ["stream"],
        "sample": ["--output", "made", "--count", "2"],
        "explore": ["--source", "svhn", "--input", str(drawn), "--output", "made.html"],
        "prepare": ["--source", "svhn", "--input", str(drawn), "--output", "made"],
        "rebuild": [str(records), "--input", str(drawn)],
        "watch": ["--source", "svhn", "--input", str(drawn), "--output", "made"],
        "watch-job": ["--stream", "stream", "--runner", "PrismRunner"],
        "browse": [str(records), "--output", "made"],
        "train": ["--data", str(records), "--run-dir", "made"],
        "evaluate": ["--run-dir", run, "--data", str(records)],
        "calibrate": ["--run-dir", str(own), "--data", str(records)],
        "predict": [photo],
        "export": ["--output", "made"],
        "summary": ["--model", "compact"],
        "report": ["--run-dir", run, "--output", "made.html"],
        "audit": ["--data", str(records), "--output", "made.html"],
        "explain": ["--data", str(records), "--output", "made.html"],
    }
    extras = {command.name: command.extra or "" for command in streetdigits.COMMANDS}
    assert {name for name, extra in extras.items() if extra} == set(lines)
    if "cv2" not in hidden:
        del lines["compact"]  # it copies records, for which it needs nothing else of its extra
    base = [[name, str(records)] for name in ("inspect", "validate", "index")]
    base += [["show", str(records), "--output", "sheet.png"]]
    base += [["export-records", str(records), "--to", "webdataset", "--output", "tars", "--split", "test"]]
    given = [*([name, "--help"] for name in NAMES), *([name, *words] for name, words in lines.items()), *base]
    for argv, code, shown, errors, _ in run_all(tmp_path, given, hidden):
        if argv[0] in lines and argv[1] != "--help":
            assert code == 1 and shown == "" and _installs(argv, errors, extras[argv[0]]), (argv, errors)
        else:
            assert code == 0, (argv, errors)
    assert not list(tmp_path.glob("made*"))


def test_every_command_has_arguments_here() -> None:
    assert list(REQUIRED) == NAMES


def parser_of(command: Command) -> Parser:
    parser = Parser(words=[], formatter_class=HelpFormatter)
    importlib.import_module(command.module).add_arguments(parser)
    return parser


@pytest.mark.parametrize("command", streetdigits.COMMANDS, ids=NAMES)
def test_values_have_short_names(command: Command) -> None:
    for action in parser_of(command)._actions:
        name = HelpFormatter("")._format_args(action, HelpFormatter("")._get_default_metavar_for_optional(action))
        if action.option_strings and action.nargs is None and action.type and not action.choices:
            assert len(name) <= 7, (action.option_strings, name)


@pytest.mark.parametrize("address", ["s3://no-such-bucket/thing", "gs:/bucket/thing", "s3:thing"])
@pytest.mark.parametrize("command", streetdigits.COMMANDS, ids=NAMES)
def test_an_address_works_or_is_refused_in_one_line_before_anything_is_written(
    command: Command,
    address: str,
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "photo.png").touch()
    for action in parser_of(command)._actions:
        words = REQUIRED[command.name]
        named = action.option_strings[-1] if action.option_strings else ""
        if named in ("--output", "--input", "--media-root", "--data", "--run-dir", "--config", "--init"):
            at = words.index(named) if named in words else len(words)
            argv = [*words[:at], named, address, *words[at + 2 :]]
        elif action.dest in ("directory", "manifest", "paths", "photos"):
            argv = [address, *words[1:]]
        else:
            continue
        with contextlib.suppress(SystemExit):
            code = 2 if command.name == "rebuild" else 1  # 1 says that a dataset differs
            assert main("streetdigits", "", streetdigits.COMMANDS, [command.name, *argv]) == code, argv
        errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Using the weights")]
        errors = [line for line in errors if not line.startswith("Read 0 of 1")]
        assert len(errors) == 1 and errors[0].startswith("error: "), (argv, errors)
        # Commands look for their input first, which is not there; rebuild for its manifest.
        later = (
            "--output",
            "--data",
            "--run-dir",
            "--init",
            *(["--input", "--media-root"] if command.name == "rebuild" else []),
        )
        assert address in errors[0] or named in later, argv
        assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "records"], argv


def test_an_address_in_a_file_of_settings_stays_one_and_a_mistyped_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--config", str(tmp_path / "settings.toml"), "--print-config"]
    for name in ("data", "run_dir", "init"):
        for given, code in (("s3://bucket/thing", 0), ("s3:/bucket/thing", 1)):
            paths = {"data": "records", "run_dir": "made", name: given}
            (tmp_path / "settings.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in paths.items()))
            assert main("streetdigits", "", streetdigits.COMMANDS, argv) == code
            printed = capsys.readouterr()
            if code:
                assert "error: An address needs :// after its scheme" in printed.err and given in printed.err
            else:
                assert f'{name} = "s3://bucket/thing"\n' in printed.out


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["train", "--dataset", "records", "--run-dir", "made"], "--data (not --dataset)"),
        (["evaluate", "--rundir=run", "--data", "records"], "--run-dir (not --rundir)"),
        (["predict", "a.png", "--batchsize", "3"], "--batch-size (not --batchsize)"),
        (["prepare", *REQUIRED["prepare"], "--jitter", "3"], "--jitters (not --jitter)"),
        (["show", "records", "--out", "made.png"], "--output (not --out)"),
        (["show", "records", "--nothing", "made.png"], ""),
        (["trian", "--data", "records"], "train? "),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    argv: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main("streetdigits", "", streetdigits.COMMANDS, argv)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1
    assert (f"; did you mean {meant}" in error) if meant else ("did you mean" not in error)


def test_an_errno_is_never_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for argv in (
        ["index", str(tmp_path / "file" / "x")],
        ["predict", str(tmp_path / "gone.png")],
        ["sample", "--output", str(tmp_path / "file" / "x"), "--count", "2"],
    ):
        assert main("streetdigits", "", streetdigits.COMMANDS, argv) == 1
        error = capsys.readouterr().err
        assert "[Errno" not in error and str(tmp_path) in error, error


def _next(printed: str) -> list[str]:
    """Returns the words of the command that a command says to type next, as a shell splits them."""
    (line,) = re.findall(r"[Nn]ext: python -m (.*)", printed)
    package, *words = shlex.split(line)
    names = {"beam_jobs", "tfrecords", "trainer"}
    assert package in names, line
    return words


def test_what_a_command_says_to_type_next_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sample", "--output", "d'\u00e9 \u2116$(1)", "--count", "6", "--jobs", "1"]
    ran = []
    for _ in range(3):
        assert main("streetdigits", "", streetdigits.COMMANDS, words) == 0
        ran.append(words[0])
        printed = capsys.readouterr().out
        if words[0] != "inspect":
            words = _next(printed)
    assert ran == ["sample", "prepare", "inspect"]
    assert (tmp_path / "d'\u00e9 \u2116$(1)-records" / "manifest.json").exists()


def test_the_paths_that_download_and_evaluate_print_are_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d'\u00e9 \u2116$(1)"
    words = _next(download._summary(download.DownloadConfig(folder), ("train",)))
    assert words[words.index("--input") + 1 :] == [str(folder), "--output", f"{folder}-records"]
    names = ("whole_number_accuracy", "digit_accuracy", "length_accuracy", "coverage_at_98")
    scores: dict[str, Any] = dict.fromkeys(names, 0.5)
    scores |= {"num_examples": 2, "whole_number_accuracy_interval": (0.1, 0.9)}
    evaluate._print_summary(scores, "test", folder / "s.json", reads_length=True)
    assert _next(capsys.readouterr().out) == ["report", "--run-dir", str(folder)]


def test_no_command_prints_a_path_to_type_without_quotes() -> None:
    for path in [path for package in ("beam_jobs", "tfrecords", "trainer") for path in (ROOT / package).rglob("*.py")]:
        for line in path.read_text().splitlines():
            if re.search(r"python -m \w+ .*\{", line):
                quoted = (
                    "shlex",
                    "{folder}",
                    "{command}",
                )  # download's folder is quoted; command is none of a user's words
                assert any(word in line for word in quoted), f"{path}: {line}"


def test_an_interrupt_during_the_imports_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfrecords.cli.importlib.import_module", interrupt)
    assert main("streetdigits", "", streetdigits.COMMANDS, ["train", "--help"]) == 130
    assert capsys.readouterr().err == "stopped: interrupted\n"


def test_beam_has_no_option_like_one_of_ours() -> None:
    from apache_beam.options.pipeline_options import PipelineOptions

    found: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=found.append)
    (prepare,) = (command for command in streetdigits.COMMANDS if command.name == "prepare")
    ours = parser_of(prepare)
    theirs = {option for parser in found for action in parser._actions for option in action.option_strings}
    assert {option: near for option in theirs - {"--help"} if (near := ours.nearest(option, 0.8))} == {
        "--num_workers": "--workers"  # an exception in `tfrecords.cli`
    }


def test_an_option_of_beam_that_is_like_one_of_ours_passes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--source", "svhn", "--input", "nothing", "--output", "out", "--num_workers=4"]
    assert main("streetdigits", "", streetdigits.COMMANDS, ["prepare", *options]) == 1
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("command", streetdigits.COMMANDS, ids=NAMES)
def test_an_empty_argument_is_refused(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    words = REQUIRED[command.name]
    for at in range(len(words)):
        if words[at].startswith("-") and at + 1 < len(words):
            given = [*words[:at], f"{words[at]}=", *words[at + 2 :]]
        else:
            given = [*words[:at], "", *words[at + 1 :]]
        with pytest.raises(SystemExit) as end:
            main("streetdigits", "", streetdigits.COMMANDS, [command.name, *given])
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.count("\n") == 1, given
        assert " must not be empty; is a shell variable unset?" in error


@pytest.mark.parametrize("command", streetdigits.COMMANDS, ids=NAMES)
def test_an_integer_that_no_array_can_hold_is_refused(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    for action in parser_of(command)._actions:
        if action.type is int:
            given = [command.name, *REQUIRED[command.name], action.option_strings[0], str(1 << 63)]
            with pytest.raises(SystemExit) as end:
                main("streetdigits", "", streetdigits.COMMANDS, given)
            error = capsys.readouterr().err
            assert end.value.code == 2 and error.count("\n") == 1
            assert f": it must be below 2^63. Received: {1 << 63}" in error
