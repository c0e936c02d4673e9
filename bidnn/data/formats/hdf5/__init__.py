"""HDF5 files, MATLAB's of version 7.3 among them; without h5py, an error says how to get it."""
