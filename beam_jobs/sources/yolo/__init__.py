"""YOLO folders as a source; `source` holds it."""
