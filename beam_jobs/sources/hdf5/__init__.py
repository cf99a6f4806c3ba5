"""HDF5 objects, read in bulk through a memory map."""
