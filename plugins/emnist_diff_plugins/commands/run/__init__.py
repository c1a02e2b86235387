"""``emnist-diff run``: the command, its options and its page, and what it prints."""
