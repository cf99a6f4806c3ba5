"""Where labelled pictures arrive: folders of batches, growing files, Kafka."""
