"""Run directory → one self-contained HTML page."""

from trainer.report.charts import coverage_at, coverage_curve
from trainer.report.inputs import Run, load_run
from trainer.report.page import Report, render, write_report

__all__ = ["Report", "Run", "coverage_at", "coverage_curve", "load_run", "render", "write_report"]
