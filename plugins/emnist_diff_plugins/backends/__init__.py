"""Ways to evaluate networks: one file a backend."""
