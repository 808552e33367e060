"""What `__init__.py` of a new package is made from."""
