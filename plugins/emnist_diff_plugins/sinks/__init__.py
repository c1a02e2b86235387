"""Sinks: what records a run."""
