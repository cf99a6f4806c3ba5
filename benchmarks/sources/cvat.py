"""CVAT for images 1.1: `ElementTree.parse` with a loop over its boxes, and ours."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from beam_jobs.sources import cvat
from benchmarks.sources._read import read_all

_EDGES = ("xtl", "ytl", "xbr", "ybr")


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes an export of numbers and returns the ways to read it, each of which returns the number of numbers.

    Args:
      folder: Folder to write into.
      entries: Number of numbers, one in a picture; every fourth has a box for each of four characters, not a text.
    """
    path = folder / "annotations.xml"
    with path.open("w") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.writelines(_image(index) for index in range(entries))
        file.write("</annotations>\n")

    def by_element_tree() -> int:
        found = []
        for image in ElementTree.parse(path).getroot().iter("image"):
            boxes = [
                (box.get("label"), [float(box.get(edge, "nan")) for edge in _EDGES], box.findtext("attribute"))
                for box in image.iter("box")
            ]
            found.append((image.get("name"), boxes))
        return len(found)

    def ours() -> int:
        cvat._parse.cache_clear()
        return sum(1 for _ in read_all(cvat.SOURCE, path))

    return {"ElementTree.parse": by_element_tree, "ours": ours}


def _image(index: int) -> str:
    """Returns the element of a picture."""
    text, head = f"{index:04d}"[-4:], 'occluded="0" source="manual"'
    if index % 4:
        inside = f'\n      <attribute name="text">{text}</attribute>\n    '
        edges = 'xtl="10.25" ytl="20.50" xbr="70.75" ybr="44.00"'
        boxes = f'    <box label="plate" {head} {edges} z_order="0">{inside}</box>\n'
    else:
        boxes = "".join(
            f'    <box label="{each}" {head} xtl="{10 + at * 15}.25" ytl="20.50" xbr="{24 + at * 15}.75" ybr="44.00" '
            'z_order="0">\n    </box>\n'
            for at, each in enumerate(text)
        )
    return f'  <image id="{index}" name="meters/{index:06d}.jpg" width="640" height="480">\n{boxes}  </image>\n'
