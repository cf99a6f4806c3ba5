"""Source to annotation to crop to shard, on Apache Beam. The command line is `python -m beam_jobs`."""

import logging

__all__: list[str] = []

# Beam says so each time it is imported; nothing here speaks to BigQuery.
logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("apitools not found"))
