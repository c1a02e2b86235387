"""Give hostile inputs to every command, and see that nothing bad happens.

    python tests/tools/hostile --inputs 2000

Inputs are trajectory files (`of_trajectories`), settings (`of_settings`), checkpoints and training states
(`of_headers`), names of files (`of_names`), plugins (`of_plugins`) and datasets (`of_datasets`), all made from
`--seed`; what is asked of a command is written in `siege`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when libraries are imported, below; a fork leaves threads behind
os.environ.update(MPLBACKEND="agg", EMNIST_DIFF_CONFIG="", EMNIST_DIFF_CACHE="", EMNIST_DIFF_PLUGINS="")

import of_datasets  # noqa: E402
import of_headers  # noqa: E402
import of_names  # noqa: E402
import of_plugins  # noqa: E402
import of_settings  # noqa: E402
import of_trajectories  # noqa: E402
from siege import Input, siege  # noqa: E402

SHARES = {"trajectories": 0.3, "settings": 0.22, "headers": 0.17, "plugins": 0.06, "datasets": 0.1, "names": 0.15}

_FAMILIES = {
    "settings": of_settings,
    "headers": of_headers,
    "plugins": of_plugins,
    "datasets": of_datasets,
    "names": of_names,
}


def warm() -> None:
    """Import all that commands import, once for all of them."""
    for name in ("emnist_diff", "emnist_diff_plugins"):
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if "__main__" in module.name or ".testing" in module.name:
                continue
            try:
                importlib.import_module(module.name)
            except ImportError:  # of an extra that is not installed
                continue


def inputs(count: int, seed: int, folder: Path, only: str | None) -> Iterator[Input]:
    for name, share in SHARES.items():
        if only not in (None, name):
            continue
        part = folder / name
        part.mkdir()
        rng = random.Random(f"{seed} {name}")
        number = max(1, round(count * share)) if only is None else count
        if name == "trajectories":
            yield from of_trajectories.inputs(part, rng, number, "some")
        else:
            yield from _FAMILIES[name].inputs(part, rng, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(SHARES))
    parser.add_argument("--files", choices=("readers", "export"), help="one of each damage, for all of these commands")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warm()
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        if arguments.files:
            made = of_trajectories.inputs(folder, random.Random(arguments.seed), 0, arguments.files)
        else:
            made = inputs(arguments.inputs, arguments.seed, folder, arguments.only)
        os.chdir(folder)
        seen, wrong = siege(made, folder)
        os.chdir("/")
    if arguments.json:
        print(json.dumps({"seen": seen, "wrong": wrong}))
    else:
        for what, count in seen.items():
            print(f"{count:6d}  {what}")
        print(f"{len(wrong):6d}  things wrong")
        for line in wrong:
            print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
