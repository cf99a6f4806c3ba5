"""Whole numbers in pictures: our models and other packages' readers, with a box and without one."""
