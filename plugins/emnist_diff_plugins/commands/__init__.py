"""The commands of the built-ins, one thin file each."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_trajectory.contract import CommandSpec

_COMMANDS = (
    # name, factory, summary, section
    ("run", "run.command:app", "Generate samples and record their trajectories", "Generate"),
    ("train", "train:app", "Train a denoiser on labelled images", "Generate"),
    ("train-judge", "judge:train_app", "Train a classifier for emnist-diff judge", "Generate"),
    (
        "whatif",
        "whatif:app",
        "Make samples again without a force, and show the difference; needs matplotlib",
        "Generate",
    ),
    ("replay", "replay:replay", "Make a recorded run again from its own file, and compare", "Generate"),
    ("attend", "attend:app", "Capture attention and hidden states from a recorded run", "Analyse"),
    ("checkpoints", "checkpoints:app", "List the checkpoints that are shipped", "List"),
    ("checkpoint", "checkpoint:app", "Inspect checkpoints, and convert legacy ones", "List"),
    ("plugins", "plugins:app", "List, show and check plugins", "List"),
    ("inspect", "inspect:inspect", "Show what a trajectory file holds", "Analyse"),
    ("view", "view:app", "Show runs in the browser, step by step", "Analyse"),
    ("plot", "plot:plot_app", "Draw what trajectory files hold", "Analyse"),
    ("report", "plot:report_app", "Write a page about a recorded run", "Analyse"),
    ("compare", "plot:compare_app", "Write a page about two or more runs", "Analyse"),
    ("metrics", "metrics:app", "Measure every step and every sample of trajectory files", "Analyse"),
    ("judge", "judge:app", "Say how samples compare with real images, by a small classifier", "Analyse"),
    ("distribution", "distribution:app", "Lay generated and real samples out on one map; needs matplotlib", "Analyse"),
    ("diagnose", "diagnose:app", "Examine a trained model on held-out images; needs matplotlib", "Analyse"),
    (
        "cfg-grid",
        "cfg_grid:app",
        "Draw samples, variety and recognition over the guidance scale; needs matplotlib",
        "Analyse",
    ),
    ("attribution", "attribution:app", "Show where in the picture each force acts; needs matplotlib", "Analyse"),
    ("export", "export:app", "Make pictures, videos and arrays from a trajectory file", "Analyse"),
    ("validate-dataset", "datasets:app", "Check a dataset that export has made", "Analyse"),
    ("doctor", "doctor:doctor", "Check the installation: libraries, device, plugins, shipped checkpoint", "Machine"),
    ("bench", "bench:app", "Measure how fast this machine evaluates a network, and recommend settings", "Machine"),
)

_SILENT = ("checkpoints", "doctor", "plugins")
"""Commands that have no log."""

_LISTINGS = ("forces", "drifts", "presets", "recipes", "schedulers")


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield CommandSpec


@hookimpl
def emnist_diff_commands() -> Iterable[CommandSpec]:
    for place, (name, factory, summary, section) in enumerate(_COMMANDS):
        yield CommandSpec(
            name=name,
            factory=f"{__name__}.{factory}",
            summary=summary,
            section=section,
            place=place,
            logs=name not in _SILENT,
        )
    for place, name in enumerate(_LISTINGS, -len(_LISTINGS)):
        factory = f"{__name__}.listings:{name}"
        yield CommandSpec(
            name=name, factory=factory, summary=f"List the {name}", section="List", place=place, logs=False
        )
