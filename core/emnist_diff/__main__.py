"""``python -m emnist_diff``: the command line, for launchers that start a module."""

from emnist_diff import main

if __name__ == "__main__":
    main()
