"""Pictures of recorded runs: numbers from trajectory files, drawn by matplotlib.

A plot is an attrs class in a module of its own, registered by a `PlotSpec` with ``of="trajectories"``; see `plot.Plot`
for what it has to know. Numbers that several plots need are in `runs`, drawing that they share is in `panels`.
"""
