"""SVHN Format 1: digitStruct.mat and its pictures."""

__all__ = ["FILE_NAME"]

FILE_NAME = "digitStruct.mat"
