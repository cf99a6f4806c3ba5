"""Measures how long a number in one photo takes from the command line: with TensorFlow, with ONNX Runtime, and bare.

    python -m benchmarks.startup photo.jpg
    python -m benchmarks.startup photo.jpg --python train/bin/python --lite-python lite/bin/python --rounds 10

Each way is a process of its own. The ways take turns, so that other work on the machine slows all alike; the first
round, which fills the disk's cache, does not count. The table shows the fastest round: its wall-clock time, and the
processor time of all cores. The environments may be others than the benchmark's: installations of the wheel with the
extra `train`, and with the extra `lite`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.table import markdown, verdict

_HEAD = ("way", "clock s", "of TensorFlow's import", "processor s", "of TensorFlow's import")
_IMPORT, _KERAS = "import tensorflow", "predict, TensorFlow"
_LITE_IMPORT, _LITE = "import onnxruntime", "predict, ONNX Runtime"
_MOST_OURS, _MOST_LITE = 1.0, 1.0
"""Most processor time of an answer besides TensorFlow's import, and of one on ONNX Runtime in all, seconds."""


@dataclass(frozen=True)
class Run:
    """One process.

    Attributes:
      clock: Wall-clock time, seconds.
      processor: Processor time of all cores, seconds.
      answer: What it printed.
    """

    clock: float
    processor: float
    answer: str


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, help="picture to read")
    parser.add_argument("--python", default=sys.executable, help="Python with the extra train (default: this one)")
    parser.add_argument("--lite-python", default=sys.executable, help="Python with the extra lite (default: this one)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table and the targets; returns 1 if a target is missed."""
    args = make_parser().parse_args(argv)
    ways = ways_of(args)
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(args.rounds + 1):
        for name, command in ways.items():
            runs[name].append(run(command))
    answers = {runs[name][0].answer for name in (_KERAS, _LITE)}
    best = {name: fastest(found[1:]) for name, found in runs.items()}
    print(markdown(_HEAD, [row(name, best[name], best[_IMPORT]) for name in ways]))
    ours = best[_KERAS].processor - best[_IMPORT].processor
    lite = best[_LITE].processor
    targets = [
        (len(answers) == 1, "both runtimes print the same line"),
        (ours <= _MOST_OURS, f"with TensorFlow, {ours:.2f} s of processor besides its import: at most {_MOST_OURS:g}"),
        (lite <= _MOST_LITE, f"with ONNX Runtime, {lite:.2f} s of processor in all: at most {_MOST_LITE:g}"),
    ]
    print(*(verdict(met, text) for met, text in targets), sep="\n")
    return 0 if all(met for met, _ in targets) else 1


def ways_of(args: argparse.Namespace) -> dict[str, list[str]]:
    """Returns the command of each way by its name."""
    predict = ["-m", "streetdigits", "predict", str(args.photo.resolve()), "--runtime"]
    return {
        "python -c pass": [args.lite_python, "-c", "pass"],
        _LITE_IMPORT: [args.lite_python, "-c", "import onnxruntime"],
        _LITE: [args.lite_python, *predict, "lite"],
        _IMPORT: [args.python, "-c", "import tensorflow"],
        _KERAS: [args.python, *predict, "tensorflow"],
    }


def run(command: list[str]) -> Run:
    """Runs a command to its end, away from the checkout, which would hide what is installed.

    Raises:
      SystemExit: It fails.
    """
    # As `predict` does: without it, TensorFlow prints lines about GPUs.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    before, start = _children_seconds(), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    clock, processor = time.perf_counter() - start, _children_seconds() - before
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}: {done.stderr.strip()}")
    return Run(clock, processor, done.stdout)


def fastest(runs: list[Run]) -> Run:
    """Returns the least clock and the least processor time of several runs, which other work cannot shorten."""
    return Run(min(one.clock for one in runs), min(one.processor for one in runs), runs[0].answer)


def row(name: str, best: Run, unit: Run) -> tuple[str, ...]:
    """Returns the cells of a way, next to TensorFlow's import."""
    clock, processor = best.clock / unit.clock, best.processor / unit.processor
    return (name, f"{best.clock:.2f}", f"{clock:.2f}", f"{best.processor:.2f}", f"{processor:.2f}")


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
