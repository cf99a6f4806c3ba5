"""The digit systems from the data to the score: prepare, train and evaluate, as a user runs them."""
