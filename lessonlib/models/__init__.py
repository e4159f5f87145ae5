"""The catalogue of models and the store of the tiny ones."""
