"""The tabs of the page, each laid out from what the model can do."""
