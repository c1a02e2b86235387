"""What this machine can do: ``emnist-diff bench``."""
