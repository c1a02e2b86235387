"""What examines a run before it starts: one file a review."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ReviewSpec

_REVIEWS = {
    "presets": ("presets:Presets", "puts what presets stand for beneath the user's own settings"),
    "texts": ("texts:Texts", "puts prompts in place of classes, and what belongs to them among a model's settings"),
    "named-directions": ("directions:NamedDirections", "negative numbers of forces whose name says a direction"),
    "idle-components": ("idle:IdleComponents", "forces and drifts that do nothing, guides and classes without use"),
    "largest-share": ("limits:LargestShare", "refuses more samples than a run or a worker's file can hold"),
    "drawn-seeds": ("choices:DrawnSeeds", "says which seed was drawn, and refuses one for several workers"),
    "chosen-backend": ("choices:ChosenBackend", "says what evaluates the network"),
    "sufficient-memory": ("memory:SufficientMemory", "refuses what main memory does not hold"),
    "declared-variants": ("declared:DeclaredVariants", "refuses variants that a network does not have"),
    "fitting-guides": ("guides:FittingGuides", "refuses guides that do not fit the run's own network"),
    "recorded-weights": ("records:RecordedWeights", "refuses other weights than a recorded configuration names"),
    "padded-calls": ("padding:PaddedCalls", "warns where much of what a run computes is padding"),
    "missing-plugins": ("origins:MissingPlugins", "says where unknown components of recorded runs came from"),
    "class-folders": ("folders:ClassFolders", "names the folder of a run's files after its classes"),
    "resumed-runs": (
        "resuming:ResumedRuns",
        "has a resumed run go on with the earlier one's seed, backend and rows",
    ),
    "same-workers": ("workers:SameWorkers", "refuses a directory that another number of workers wrote to"),
    "previewed-steps": ("previews:PreviewedSteps", "passes what makes cheap pictures of steps to the sinks"),
    "deciding-settings": ("settings:DecidingSettings", "records the settings that decide what a run makes"),
    "deciding-files": ("files:DecidingFiles", "records the files that decide what components do"),
    "captured-activations": ("inside:Inside", "records what is captured inside the network, and with which settings"),
    "provenance": ("provenance:Provenance", "records versions, device, plugins and SLURM's job"),
}


@hookimpl
def emnist_diff_reviews() -> Iterable[ReviewSpec]:
    for name, (factory, summary) in _REVIEWS.items():
        yield ReviewSpec(name=name, factory=f"{__name__}.{factory}", summary=summary)
