"""The loop: one packed evaluation, a sum, a move."""
