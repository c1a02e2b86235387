"""Read a trajectory file with h5py and NumPy alone.

``python examples/read_trajectory.py output/A/trajectory.h5``
"""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np


def main(path: str) -> None:
    """Print what was run, which samples are complete, and how one of them went from noise to image."""
    with h5py.File(path) as f:
        config = json.loads(f["config"][()])
        steps = len(f["schedule/timestep"])
        complete = np.flatnonzero(f["samples/steps_done"][:] == steps)
        print(f"character {config['character']!r}, {steps} steps, {len(complete)} complete samples")
        if not len(complete):
            return
        rows = np.flatnonzero(np.isin(f["trajectory/sample"][:], complete))  # whose states were kept
        if not len(rows):
            return
        x = f["trajectory/x"][rows[0]]  # (kept steps + 1, *shape), read without the rest of the file
        print(f"{'step':>4}  {'timestep':>8}  {'alpha_bar':>9}  {'std of x':>8}")
        timesteps, alpha_bars = f["schedule/timestep"][:], f["schedule/alpha_bar"][:]
        for step, state in zip(f["trajectory/step"][:], x, strict=False):
            print(f"{step:4}  {timesteps[step]:8.0f}  {alpha_bars[step]:9.5f}  {state.std():8.4f}")
        print(f"final state: {x[-1].min():.3f} … {x[-1].max():.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
