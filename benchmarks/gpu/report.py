"""The output of `benchmarks.gpu`: scores, speeds, whether the input keeps up, and a summary in one line."""

from typing import Any

from benchmarks.common.table import markdown, verdict
from benchmarks.gpu.backends import Choice
from benchmarks.gpu.run import Job, Pace, Result

_MINIMUM_OF_RESIDENT = 0.95
"""Minimum speed on real input, of that on a resident batch."""


def report(job: Job, choice: Choice, result: Result) -> list[str]:
    """Returns the lines of the report."""
    batch = job.config.global_batch_size
    real, resident = (_images_per_s(pace, batch) for pace in (result.real, result.resident))
    of_peak = resident * result.step_flops / result.peak
    scores = [_score_cells(str(directory), split, scores) for directory, split, scores in result.scores]
    speeds = [
        ("model", f"{job.config.model}, {result.parameters:,} parameters"),
        ("device", f"{choice.device}, {choice.backend}, {job.precision}, batches of {batch}"),
        ("first steps, with compiling", f"{result.first_seconds:.1f} s"),
        ("steps after those", f"{result.real.steps:,} in {result.real.seconds / 60:.2f} min"),
        ("loss of the last batch", f"{result.real.losses[-1]:.3f} nats, smoothing included"),
        ("images/s on real input", f"{real:,.0f}"),
        ("images/s on a resident batch", f"{resident:,.0f}"),
        ("operations per image and step", f"{result.step_flops / 1e9:.3f} GFLOP: 3 times its layers' products"),
        ("speed of the step", f"{resident * result.step_flops / 1e12:.3f} TFLOP/s"),
        (f"speed of products of {job.matrix} x {job.matrix}", f"{result.peak / 1e12:.3f} TFLOP/s"),
        ("the step, of the products", f"{of_peak:.1%}"),
    ]
    ratio = real / resident
    target = f"real input: {ratio:.3f} of the speed on a resident batch, at least {_MINIMUM_OF_RESIDENT:g}"
    lines = [
        markdown(
            ("dataset", "split", "examples", "whole numbers", "95 % interval", "coverage at 98 %"), scores, words=2
        ),
        "",
        markdown(("speed", ""), speeds, words=2),
        "",
        verdict(ratio >= _MINIMUM_OF_RESIDENT, target),
    ]
    if not choice.has_gpu:
        lines.append("Without a GPU these figures only show that it runs.")
    best = ", ".join(f"{cells[3]} of {cells[0]}'s {cells[1]}" for cells in scores) or "no split to score"
    lines.append(f"{job.config.model} after {result.real.seconds / 60:.2f} min on {choice.device}: {best}.")
    return lines


def _images_per_s(pace: Pace, batch: int) -> float:
    return pace.steps * batch / pace.seconds


def _score_cells(directory: str, split: str, scores: dict[str, Any]) -> tuple[str, ...]:
    low, high = scores["whole_number_accuracy_interval"]
    accuracy, coverage = scores["whole_number_accuracy"], scores["coverage_at_98"]
    return (
        directory,
        split,
        f"{scores['num_examples']:,}",
        f"{accuracy:.2%}",
        f"{low:.2%} to {high:.2%}",
        f"{coverage:.1%}",
    )
