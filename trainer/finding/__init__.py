"""Finding the numbers in a picture."""
