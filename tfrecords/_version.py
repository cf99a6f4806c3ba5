"""The one place that states the project's version; setup.py reads it as text."""

__version__ = "0.1.0"
