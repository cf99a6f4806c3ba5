"""SVHN Format 1: digitStruct.mat and its pictures."""
