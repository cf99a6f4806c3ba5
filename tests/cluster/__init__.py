"""`prepare` on real engines: Prism, Flink, Spark, and stores. `make test-cluster` runs these tests."""
