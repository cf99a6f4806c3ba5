"""What jobs that read a source have in common: their input, its pictures, Beam's runner, progress."""
