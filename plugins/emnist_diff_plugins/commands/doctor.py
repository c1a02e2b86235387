"""``emnist-diff doctor``."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

import typer

from emnist_diff.errors import EmnistDiffError
from emnist_diff_trajectory.printing import echo

_REQUIRED = (
    "torch",
    "diffusers",
    "attrs",
    "cattrs",
    "pluggy",
    "typer",
    "rich",
    "h5py",
    "structlog",
    "safetensors",
    "numpy",
    "pillow",
    "tomlkit",
)
_OPTIONAL = {
    "openvino": ("openvino", "the fastest sampling on a CPU"),
    "matplotlib": ("plots", "plots, reports, attribution and what-if"),
    "accelerate": ("train", "training on several GPUs"),
    "tensorboard": ("train", "training curves"),
    "hdf5plugin": ("pack", "files packed with zstd or blosc"),
    "xarray": ("xarray", "trajectories as labelled arrays"),
    "av": ("video", "MP4 videos"),
    "pyarrow": ("parquet", "metrics as Parquet"),
    "scipy": ("mat", "EMNIST's .mat files"),
    "scikit-learn": ("maps", "t-SNE maps, and how well samples are told from real images"),
    "anywidget": ("notebook", "the viewer in a notebook"),
    "umap-learn": ("maps", "UMAP maps"),
    "transformers": ("pipelines", "text encoders of text-to-image models"),
    "peft": ("pipelines", "LoRA of text-to-image models"),
    "sentencepiece": ("pipelines", "T5's tokenizer, of SD3 and FLUX.1"),
    "nvidia-ml-py": ("dashboard", "GPUs on the dashboard"),
    "psutil": ("dashboard", "processors and memory on the dashboard"),
}
"""The libraries of the extras for users: which extra, and what for."""


def doctor(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Check the installation: libraries, device, plugins, shipped checkpoint. Exit code 1 when something is wrong."""
    from emnist_diff import __version__
    from emnist_diff.discovery import installed
    from emnist_diff.plugins import load_factory

    problems: list[str] = []
    libraries = {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    problems += [f"{name} is not installed" for name in _REQUIRED if libraries[name] is None]
    registry = installed()
    problems += [f"plugin {b.distribution} [{b.plugin}] is broken: {b.error}" for b in registry.broken]
    for entry in registry.entries:
        try:
            load_factory(entry)
            registry.resolve(type(entry.spec), entry.spec.name)
        except EmnistDiffError as error:
            problems.append(str(error))
    device, checkpoint = "", ""
    try:
        import torch

        from emnist_diff.assembly.devices import choose_device
        from emnist_diff_plugins.containers.checkpoint import read_header
        from emnist_diff_plugins.containers.shipped import shipped
        from emnist_diff_plugins.machine.threads import default_threads

        device = choose_device("auto")
        if device == "cuda":
            device += f" ({torch.cuda.get_device_name()})"
        else:
            threads = default_threads()
            device += f" ({threads.count} {'thread' if threads.count == 1 else 'threads'}: {threads.reason})"
        path = shipped()
        header = read_header(path)
        checkpoint = f"{path.name}: {header.family}, {len(header.classes)} classes"
    except (ImportError, EmnistDiffError) as error:
        problems.append(str(error))
    data: dict[str, Any] = {
        "emnist_diff": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "shipped_checkpoint": checkpoint,
        "libraries": libraries,
        "plugins": [f"{s.distribution} {s.version} [{s.name}]" for s in registry.sources],
        "components": len(registry.entries),
        "problems": problems,
    }
    if as_json:
        typer.echo(json.dumps(data, indent=2))
    else:
        for label in ("emnist-diff", "python", "platform", "device", "shipped checkpoint"):
            key = label.replace(" ", "_").replace("-", "_")
            echo(f"{label:<20}{data[key] or '-'}")
        echo(f"{'plugins':<20}{', '.join(data['plugins'])} — {data['components']} components")
        for name, version in libraries.items():
            extra, purpose = _OPTIONAL.get(name, ("", ""))
            use = f"  (optional: {purpose})" if version else f"  ({purpose}: pip install 'emnist-diff[{extra}]')"
            echo(f"  {name:<18}{version or 'not installed'}{use if extra else ''}")
        for problem in problems:
            echo(f"problem: {problem}")
        echo("everything is fine" if not problems else f"{len(problems)} problem(s)")
    if problems:
        raise typer.Exit(1)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
