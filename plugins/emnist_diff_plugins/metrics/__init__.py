"""Numbers of a run: of every step and every sample, while it goes on and from its file, by the same code."""
