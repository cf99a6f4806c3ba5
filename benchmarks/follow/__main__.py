"""Compares a model that follows a stream of real photos with one that is trained on all of them at once.

    python -m benchmarks.follow --photos ../shared/data/svhn_photos
    python -m benchmarks.follow --photos ../shared/data/svhn_photos --seeds 3 --full-epochs 10

A share of the photos is held out by digest, and the others are dealt to ten batches of one size. One way is `prepare`
and `train`. The other one is `watch`, whose inbox gets --per-epoch batches before the first epoch of `train --follow`
and as many in each later one, then --full-epochs epochs with all. Both see the same number of examples: the run on all
photos has as many epochs as are nearest to that. Options of training, weights at the start, crops and held-out photos
are the same. Validation is left out, so that both train on the same photos, and the last weights are kept.

Arrivals go by epochs, not by time: a run is paused while the watcher makes a snapshot. So the result can be repeated.
The first seed follows; the others replay its snapshots, which ends with the weights of a run that follows. What is in
--output is not done again, and what was stopped is resumed. The goal: following costs at most one point of accuracy.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.common.table import markdown, verdict
from benchmarks.follow.compare import Score, difference, score
from benchmarks.follow.deal import Dealt, deal
from benchmarks.follow.runs import Setup, train_and_score
from tfrecords.errors import UserError

GOAL = 0.01
"""Most accuracy that following may cost, 0..1."""
_HEAD = ("way", "epochs", "examples seen", "seeds", "each seed", "whole numbers", "95 % interval")


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="DIR", help="folder of photos with a digitStruct.mat")
    add("--output", type=Path, default="follow", metavar="DIR", help="folder for all files (default: follow)")
    add("--seeds", type=int, default=1, metavar="N", help="number of runs a way, with seeds 0 to N - 1 (default: 1)")
    add("--batches", type=int, default=10, metavar="N", help="number of batches (default: 10)")
    add("--per-epoch", type=int, default=2, metavar="N", help="batches that arrive in an epoch (default: 2)")
    add("--full-epochs", type=int, default=5, metavar="N", help="epochs after the last has arrived (default: 5)")
    add("--held-out", type=float, default=0.25, metavar="X", help="share of photos to score on (default: 0.25)")
    add("--model", default="compact", help="architecture (default: compact)")
    add("--init", default="pretrained", help="weights to start from; none: random ones (default: pretrained)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and its goal, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    counts = [args.seeds, args.batches, args.per_epoch, args.full_epochs]
    if min(counts) < 1 or not 0 < args.held_out < 1:
        rule = "--seeds, --batches, --per-epoch and --full-epochs must be at least 1, --held-out between 0 and 1."
        parser.error(f"{rule} Received: {', '.join(map(str, counts))} and {args.held_out}")
    output = args.output.absolute()
    try:
        dealt = deal(args.photos.absolute(), output / "dealt", args.batches, args.held_out)
        setup = Setup(output, args.model, args.init, args.per_epoch, args.full_epochs)
        print(*report(setup, dealt, args.seeds), sep="\n")
    except (OSError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def report(setup: Setup, dealt: Dealt, seeds: int) -> Iterable[str]:
    """Trains both ways with each seed, and yields the lines of the report."""
    runs = train_and_score(setup, dealt, seeds)
    at_once, followed = (score(each) for each in runs)
    rows = [
        _row(name, each) for name, each in (("`prepare`, `train`", at_once), ("`watch`, `train --follow`", followed))
    ]
    yield ""
    yield markdown(_HEAD, rows)
    mean, low, high = difference(at_once, followed)
    interval = f"95 % interval {_points(low)} to {_points(high)}"
    photos = f"{followed.right.shape[1]:,}"
    yield f"Following minus all at once, on the same {photos} photos: {_points(mean)} points, {interval}."
    yield verdict(mean >= -GOAL, f"following: {_points(mean)} points, at least -{100 * GOAL:.0f}")


def _row(name: str, each: Score) -> tuple[str, ...]:
    mean, low, high = each.mean
    of_seeds = ", ".join(f"{100 * value:.1f}" for value in each.of_seeds)
    found = (f"{100 * mean:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %")
    return name, str(each.epochs), f"{each.examples:,}", str(len(each.of_seeds)), of_seeds, *found


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


if __name__ == "__main__":
    sys.exit(main())
