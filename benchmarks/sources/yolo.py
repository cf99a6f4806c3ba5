"""Reading a YOLO folder of characters, four a number and picture: globox's reading, and ours.

Both open every picture for its size. Ours reads the label files twice: for their digest and by range.
"""

from collections.abc import Callable
from pathlib import Path

from beam_jobs.sources.yolo.source import SOURCE
from benchmarks.sources._read import read_all

_PER_NUMBER = 4


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes a folder of `entries` characters and returns the ways of reading it; each returns their number."""
    _write(folder, entries)

    def theirs() -> int:
        from globox import AnnotationSet

        found = AnnotationSet.from_yolo_v5(folder / "labels", image_folder=folder / "images", image_extension=".png")
        return sum(len(annotation.boxes) for annotation in found)

    def ours() -> int:
        return sum(len(annotation.text) for annotation in read_all(SOURCE, folder))

    return {"globox.AnnotationSet.from_yolo_v5": theirs, "ours": ours}


def _write(folder: Path, entries: int) -> None:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (64, 48), 200).save(stream, "PNG")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    (folder / "data.yaml").write_text(f"train: images\nnames: {list(range(10))}\n")
    for at in range(-(-entries // _PER_NUMBER)):
        count = min(_PER_NUMBER, entries - at * _PER_NUMBER)
        rows = [f"{(at + 3 * digit) % 10} {0.2 + 0.15 * digit:.6f} 0.5 0.12 0.6\n" for digit in range(count)]
        (folder / "images" / f"{at:06d}.png").write_bytes(stream.getvalue())
        (folder / "labels" / f"{at:06d}.txt").write_text("".join(rows))
