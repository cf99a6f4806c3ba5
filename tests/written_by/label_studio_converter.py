"""Writes min.json and coco.json in tests/written_by/label_studio with label-studio-sdk 2.1.2.

export.json was written by hand after https://labelstud.io/guide/task_format and the template
https://labelstud.io/templates/optical_character_recognition; the converter is that of Label Studio.s server.

    python3 -m venv x && x/bin/pip install label-studio-sdk==2.1.2
    x/bin/python tests/written_by/label_studio_converter.py
"""

import json
import tempfile
from pathlib import Path

from label_studio_sdk.converter import Converter

HERE = Path(__file__).parent / "label_studio"
CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="Plate"/></RectangleLabels>
  <TextArea name="transcription" toName="image" perRegion="true"/>
</View>
"""

with tempfile.TemporaryDirectory() as folder:
    converter = Converter(CONFIG, folder, upload_dir=folder, download_resources=False)
    converter.convert_to_json_min(str(HERE / "export.json"), f"{folder}/min", is_dir=False)
    converter.convert_to_coco(str(HERE / "export.json"), f"{folder}/coco", is_dir=False)
    for name, made in (("min.json", "min/result.json"), ("coco.json", "coco/result.json")):
        content = json.loads(Path(folder, made).read_text())
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n")
