"""Presets: named pieces of configuration. All of these start from the unconditional prediction."""
