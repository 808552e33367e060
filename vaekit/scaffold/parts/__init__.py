"""A part of each kind and a data set, short and real: what new packages begin with, under other names."""
