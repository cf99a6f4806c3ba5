"""Annotations to a dataset directory of TFRecords, on Apache Beam."""
