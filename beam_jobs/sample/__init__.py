"""Synthetic pictures of house numbers, in SVHN's layout."""
