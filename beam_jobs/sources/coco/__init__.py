"""COCO detection JSON as a source; `source` holds it."""
