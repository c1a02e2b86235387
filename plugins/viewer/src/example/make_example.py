"""Make example.h5.gz, the run that the viewer shows when it is given nothing.

One A that is drawn towards B in six steps, with every field and a small map of attention. It stands in the page as
base64, so it is packed, and compressed once more, as a file: descriptions of datasets are mostly zeros.

Run it from the repository: python plugins/viewer/src/example/make_example.py
"""

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

SINK = 'hdf5:dtype=float16,conditions=own,attention={"layers":["mid*"],"resolution":4,"self_resolution":4}'
RUN = "run --character A --total-videos 1 --steps 6 --seed 1000 --force attract_class:target=B"
MOST = 48_000


def main() -> None:
    target = Path(__file__).with_name("example.h5.gz")
    program = str(Path(sys.executable).with_name("emnist-diff"))
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "packed.h5")
        for command in (
            [*RUN.split(), "--sink", SINK, "--output", folder],
            ["pack", f"{folder}/A/trajectory.h5", "--codec", "gzip", "--level", "9", "--output", str(packed)],
        ):
            subprocess.run([program, *command], check=True)
        target.write_bytes(gzip.compress(packed.read_bytes(), 9, mtime=0))
    size = target.stat().st_size
    print(f"{target}: {size} bytes, {4 * -(-size // 3)} as base64")
    if size > MOST:
        raise SystemExit(f"{target} is larger than {MOST} bytes: the page must stay small")


if __name__ == "__main__":
    main()
