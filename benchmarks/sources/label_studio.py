"""Label Studio's export JSON: `json.load` with a loop over its regions, and ours."""

import json
from collections.abc import Callable
from pathlib import Path

from beam_jobs.sources.label_studio import source
from benchmarks.sources._read import read_all

_KEYS = ("x", "y", "width", "height")


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes an export of numbers and returns the ways to read it, each of which returns the number of numbers.

    Args:
      folder: Folder to write into.
      entries: Number of numbers, one in a picture, each a rectangle with a text.
    """
    path = folder / "export.json"
    with path.open("w") as file:
        for index in range(entries):
            file.write(("," if index else "[") + json.dumps(_task(index)))
        file.write("]")

    def by_json() -> int:
        found = []
        for task in json.loads(path.read_bytes()):
            for item in task["annotations"][0]["result"]:
                if item["type"] == "textarea":
                    value = item["value"]
                    box = [value[key] * item["original_width"] / 100 for key in _KEYS]
                    found.append((task["data"]["image"], box, value["text"][0]))
        return len(found)

    def ours() -> int:
        source._parse.cache_clear()
        return sum(1 for _ in read_all(source.SOURCE, path))

    return {"json.loads": by_json, "ours": ours}


def _task(index: int) -> dict[str, object]:
    """Returns a task as Label Studio 1.x exports it."""
    box = {"x": 10.25, "y": 20.5, "width": 30.125 + index % 7, "height": 12.5, "rotation": 0}
    common = {"original_width": 640, "original_height": 480, "image_rotation": 0, "id": f"r{index}", "to_name": "image"}
    values = [("label", "rectanglelabels", "rectanglelabels", "Meter"), ("text", "textarea", "text", f"{index:06d}")]
    result = [
        {**common, "value": {**box, key: [word]}, "from_name": name, "type": kind, "origin": "manual"}
        for name, kind, key, word in values
    ]
    made = "2026-03-09T22:16:08.728353Z"
    annotation = {
        **{"id": index, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False},
        **{"created_at": made, "updated_at": made, "lead_time": 4.288, "task": index, "prediction": {}},
    }
    data = {"image": f"/data/upload/1/{index:08x}-meter.jpg"}
    return {"id": index, "annotations": [annotation], "predictions": [], "drafts": [], "data": data, "created_at": made}
