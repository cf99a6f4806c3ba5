"""Pascal VOC: `ElementTree.parse` of each file with a loop over its objects, and ours."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from beam_jobs.sources.voc import source
from benchmarks.sources._read import read_all

_EDGES = ("xmin", "ymin", "xmax", "ymax")


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes a file for each number and returns the ways to read them, each of which returns the number of numbers.

    Args:
      folder: Folder to write into.
      entries: Number of numbers, one in a picture, each of two characters with boxes.
    """
    place = folder / "train"
    place.mkdir()
    for index in range(entries):
        (place / f"{index:06d}.xml").write_text(_file(index))
        (place / f"{index:06d}.jpg").touch()

    def by_element_tree() -> int:
        found = []
        for path in sorted(place.glob("*.xml")):
            root = ElementTree.parse(path).getroot()
            boxes = []
            for item in root.findall("object"):
                box = item.find("bndbox")
                assert box is not None
                boxes.append((item.findtext("name"), [float(box.findtext(edge, "nan")) for edge in _EDGES]))
            found.append((root.findtext("filename"), boxes))
        return len(found)

    def ours() -> int:
        source._PARSED.clear()
        return sum(1 for _ in read_all(source.SOURCE, folder))

    return {"ElementTree.parse": by_element_tree, "ours": ours}


def _file(index: int) -> str:
    """Returns the content of a file as labelImg writes it."""
    objects = "".join(
        f"\t<object>\n\t\t<name>{each}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{10 + at * 15}</xmin>\n\t\t\t<ymin>20</ymin>\n"
        f"\t\t\t<xmax>{24 + at * 15}</xmax>\n\t\t\t<ymax>44</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for at, each in enumerate(f"{index:02d}"[-2:])
    )
    return (
        f"<annotation>\n\t<folder>train</folder>\n\t<filename>{index:06d}.jpg</filename>\n"
        f"\t<path>/home/me/train/{index:06d}.jpg</path>\n\t<source>\n\t\t<database>Unknown</database>\n\t</source>\n"
        "\t<size>\n\t\t<width>640</width>\n\t\t<height>480</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )
