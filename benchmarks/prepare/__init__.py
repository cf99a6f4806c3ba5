"""Pictures to TFRecords."""
