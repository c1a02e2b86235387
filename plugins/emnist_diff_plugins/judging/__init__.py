"""Judges: small classifiers that say how samples compare with real images."""
