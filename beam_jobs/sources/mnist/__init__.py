"""MNIST and data sets like it: idx files, mnist.npz, or CSV."""
