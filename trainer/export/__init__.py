"""A trained model in other formats."""
