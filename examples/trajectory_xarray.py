"""Look at a run with labelled axes.

``pip install 'emnist-diff[xarray]'``, then ``python examples/trajectory_xarray.py output/A/trajectory.h5``
"""

from __future__ import annotations

import sys

from emnist_diff import Trajectory


def main(path: str) -> None:
    """Print how far the state has moved by the end of each step, and how sure the estimate of the image is by then."""
    with Trajectory(path) as trajectory:
        data = trajectory.to_xarray()  # nothing of the states is read yet
        print(f"{data.sizes['sample']} samples of {', '.join(sorted(set(data.character.values)))}")
        pixels = data.x.dims[2:]
        moved = data.x.diff("state").astype("float32").std(pixels).mean(data.x.dims[0])
        error = (data.x0 - data.x.isel(state=-1, drop=True)).astype("float32").std(pixels).mean(data.x.dims[0])
        print(f"{'step':>4}  {'timestep':>8}  {'moved by':>8}  {'x0 is off by':>12}")
        for step in range(data.sizes["step"]):
            at = data.isel(step=step)
            print(f"{int(at.step):4}  {float(at.timestep):8.0f}  {float(moved[step]):8.4f}  {float(error[step]):12.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
