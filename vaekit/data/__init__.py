"""Data sets by name, prepared for training, and the batches made of them."""
