"""What the demo computes: pure functions of a model and what was asked, with no thought of a page."""
