"""Families of denoisers, and their checkpoints."""
