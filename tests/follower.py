"""Stands in for a training that follows: it notes what each epoch saw. Started with `python -m tests.follower`."""

import json
import sys
import time
from pathlib import Path

_EPOCH_S = 0.15


def run(run_dir: Path, counter: Path, epochs: int) -> None:
    """Writes to a new RUN_DIR a config.json, and a line per epoch with the number that a file had when it began."""
    run_dir.mkdir()
    lines: list[str] = []
    for _ in range(epochs):
        seen = int(counter.read_text())
        if lines:
            (run_dir / "history.jsonl").write_text("".join(lines))
        (run_dir / "config.json").touch()
        time.sleep(_EPOCH_S)
        lines.append(json.dumps({"snapshot": seen}) + "\n")
    (run_dir / "history.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
