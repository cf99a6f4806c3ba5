"""Source to annotation to crop to shard, on Apache Beam. The command line is `python -m beam_jobs`."""

__all__: list[str] = []
