"""Drifts: maps of the state after each step (state space)."""
