"""HDF5 objects read in bulk, over a memory map."""
