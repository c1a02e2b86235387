"""Training denoisers: ``emnist-diff train``."""
