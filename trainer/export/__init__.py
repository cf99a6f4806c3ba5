"""A trained model in other formats, each checked against the model."""
