"""What an epoch's end decides, with numbers instead of training."""

import pytest

from trainer.fit.checkpoint import Progress
from trainer.fit.validation import epoch_line, epoch_text, record_epoch
from trainer.run.config import TrainConfig


def _judged(losses: list[float], config: TrainConfig) -> tuple[list[bool], list[bool], Progress]:
    """Which epochs were the best so far, after which the run was finished, and the progress."""
    progress, best, finished = Progress(), [], []
    for epoch, loss in enumerate(losses, start=1):
        line = {"epoch": epoch, "validation_loss": loss, "validation_whole_number_accuracy": 0.5}
        best.append(record_epoch(progress, line, config))
        finished.append(progress.finished)
    return best, finished, progress


def test_the_best_epoch_is_kept_and_the_last_one_finishes() -> None:
    best, finished, progress = _judged([3.0, 2.0, 2.5], TrainConfig(epochs=3))
    assert best == [True, True, False] and finished == [False, False, True]
    assert progress.best["epoch"] == 2 and [line["epoch"] for line in progress.history] == [1, 2, 3]


def test_where_the_last_is_kept_every_epoch_replaces_the_one_before_it() -> None:
    best, finished, progress = _judged([2.0, 3.0, 4.0, 5.0], TrainConfig(epochs=4, patience=2, keep="last"))
    assert best == [True] * 4 and finished == [False, False, False, True] and progress.best["epoch"] == 4


def test_patience_counts_from_the_best_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    best, finished, _ = _judged([3.0, 2.0, 2.5, 2.6], TrainConfig(epochs=9, patience=2))
    assert best == [True, True, False, False] and finished == [False, False, False, True]
    assert capsys.readouterr().out == "No better validation score in 2 epochs: stopped early.\n"


def test_a_line_has_the_means_of_the_epoch_s_totals() -> None:
    progress = Progress(epoch=4, step=5, loss=30.0, right=12.0, examples=20.0, seconds=7.126)
    line = epoch_line(progress, 25, 0.001, {"validation_loss": 0.75})
    assert line == {
        "epoch": 5,
        "step": 25,
        "seconds": 7.13,
        "train_loss": 1.5,
        "train_whole_number_accuracy": 0.6,
        "learning_rate": 0.001,
        "validation_loss": 0.75,
    }


def _text(seconds: float, *pairs: tuple[float, float], epochs: tuple[int, int] = (3, 5)) -> str:
    line = {"epoch": epochs[0], "seconds": seconds, "validation_digit_accuracy": 0.9}
    for kind, (loss, right) in zip(("train", "validation"), pairs, strict=False):
        line |= {f"{kind}_loss": loss, f"{kind}_whole_number_accuracy": right}
    return epoch_text(line, epochs[1])


def test_what_is_printed_of_an_epoch_has_training_and_validation_in_pairs() -> None:
    assert _text(26.4, (0.77, 0.824), (0.53, 0.894)) == "epoch 3/5  26 s  loss 0.77/0.53  numbers 82.4/89.4 %"
    assert _text(0.2, (8.295, 0.0)) == "epoch 3/5  0 s  loss 8.29  numbers 0.0 %"


@pytest.mark.parametrize("loss", [0.0, 12345.678, 1e30, float("nan"), float("inf"), -0.001])
def test_what_is_printed_of_an_epoch_fits_80_columns(loss: float) -> None:
    assert len(_text(1_234_567.0, (loss, 1.0), (loss, 1.0), epochs=(10_000, 10_000))) <= 80
