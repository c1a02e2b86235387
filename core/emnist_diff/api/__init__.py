"""The Python interface that makes samples one by one: configuration, checkpoint, frames, generation.

A thin layer over the engine. Its names are imported from `emnist_diff` itself, which loads them on first use.
"""
