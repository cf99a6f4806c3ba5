"""What others read of a dataset without this package: croissant.json for programs, README.md for people."""
