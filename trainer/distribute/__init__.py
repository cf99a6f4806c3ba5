"""Hosts, devices and TensorFlow's start."""
