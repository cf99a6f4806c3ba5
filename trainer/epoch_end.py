"""What an epoch's end decides: whether its weights are kept, and whether there is another one."""

from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from trainer.config import TrainConfig
from trainer.progress import Progress
from trainer.validation import is_better


def epoch_line(progress: Progress, step: int, learning_rate: float, scores: Mapping[str, float]) -> dict[str, Any]:
    """Returns an epoch's line of the history, and shows it.

    Args:
      progress: at the epoch's last step.
      step: of the whole run, that it stands at.
      learning_rate: of that step.
      scores: on the validation split, by their names in the history.
    """
    line = {
        "epoch": progress.epoch + 1,
        "step": step,
        "seconds": round(progress.seconds, 2),
        "train_loss": progress.loss / progress.examples,
        "train_whole_number_accuracy": progress.right / progress.examples,
        "learning_rate": learning_rate,
        **scores,
    }
    told = "  ".join(f"{name} {value:.4f}" for name, value in line.items() if "accuracy" in name or "loss" in name)
    tqdm.write(f"epoch {line['epoch']:>3}  {line['seconds']:.0f} s  {told}")
    return line


def judge(progress: Progress, line: dict[str, Any], config: TrainConfig) -> bool:
    """Adds an epoch's line to the progress, and finishes it after the last; returns whether its weights are kept."""
    progress.history.append(line)
    is_kept = config.keep == "last" or is_better(line, progress.best)
    if is_kept:
        progress.best = line
    is_last = line["epoch"] == config.epochs
    is_stale = line["epoch"] - progress.best["epoch"] >= config.patience
    if is_stale and not is_last:
        tqdm.write(f"No better validation score in {config.patience} epochs: stopped early.")
    progress.finished = is_last or is_stale
    return is_kept
