"""A run directory to one self-contained HTML page."""

from trainer.report.inputs import RunFiles, load_run
from trainer.report.page import Report, render, write_report

__all__ = ["Report", "RunFiles", "load_run", "render", "write_report"]
