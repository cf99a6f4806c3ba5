"""Training on a GPU with any of the Keras backends: scores and speeds."""
