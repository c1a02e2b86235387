"""``python -m emnist_diff.cli``."""

from emnist_diff.cli import main

main()
