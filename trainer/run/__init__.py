"""What a run is: its configuration, settings, directory and weights."""
