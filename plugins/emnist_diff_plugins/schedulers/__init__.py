"""Schedulers: what turns a prediction into the next state."""
