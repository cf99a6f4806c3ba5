"""A run directory to one self-contained HTML page."""

from trainer.report.inputs import RunFiles, load_run
from trainer.report.page import Report, render
from trainer.report.write import write_report

__all__ = ["Report", "RunFiles", "load_run", "render", "write_report"]
