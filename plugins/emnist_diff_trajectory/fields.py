"""Where the fields of a frame stand in the file. Which fields there are is `frames.FIELDS`, and which datasets they are
follows from this file alone."""

from __future__ import annotations

from emnist_diff.frames import GROUPS, STATES

ACTIVATIONS = "activations"
"""The group of a network's inner activations, which a frame has under the names that the denoiser gives them."""

CONDITIONS, EVALUATED = f"{ACTIVATIONS}/condition", f"{ACTIVATIONS}/evaluated"
"""The names along the axis of conditions, and which of these each kept step evaluates."""

ROOTS = ("config", "environment", "schedule", "samples", "trajectory", *GROUPS, ACTIVATIONS, "images")
"""What this version knows; anything else in the file is left alone, `plugins` included."""

_LEAVES = {"forces": "contribution", "drifts": "delta"}
"""What a component's dataset of states is called in the component's group."""

_LISTS = ("trajectory/step", "trajectory/sample", CONDITIONS, EVALUATED)


def dataset_of(field: str) -> str:
    """The dataset that holds a field of a frame: ``trajectory/x``, ``forces/00_attract_class/contribution``,
    ``activations/hidden/mid``."""
    group = field.partition("/")[0]
    if group in _LEAVES:
        return f"{field}/{_LEAVES[group]}"
    return f"trajectory/{field}" if field in STATES else f"{ACTIVATIONS}/{field}"


def field_of(dataset: str) -> str:
    """The field of a frame that a dataset holds; the inverse of `dataset_of`."""
    group, _, rest = dataset.partition("/")
    return dataset.rpartition("/")[0] if group in _LEAVES else rest


def contribution_of(force: str) -> str:
    """The dataset of a force's contributions.  force: the name of its group, ``00_attract_class``."""
    return dataset_of(f"forces/{force}")


def weight_of(force: str) -> str:
    """The dataset of a force's weights, (T,).  force: the name of its group, ``00_attract_class``."""
    return f"forces/{force}/weight"


X = dataset_of("x")
"""The dataset that has the final state beside the kept steps."""


def columns(dataset: str, steps: int) -> int:
    """How many states of a sample a dataset holds where `steps` steps are kept."""
    return steps + (dataset == X)


def ledger(forces: tuple[str, ...]) -> tuple[list[str], str]:
    """The datasets of what adds up, in order, and of the sum.  forces: the names of their groups."""
    return [dataset_of("base"), *map(contribution_of, forces)], dataset_of("prediction")


def has_rows(dataset: str) -> bool:
    """Whether a dataset of a file has a row for each sample: states, activations and images."""
    group = dataset.partition("/")[0]
    if dataset in _LISTS or (group == "forces" and dataset.endswith("/weight")):
        return False
    return group in ("trajectory", *GROUPS, ACTIVATIONS, "images")


def is_activation(dataset: str) -> bool:
    """Whether a dataset with rows holds activations: (M, K, conditions, *shape of a row's)."""
    return dataset.startswith(f"{ACTIVATIONS}/")


def refusal(activation: str) -> str:
    """Why activations under this name cannot be recorded; "" where they can."""
    parts = activation.split("/")
    if len(parts) > 2 or not all(parts) or not activation.isprintable() or {".", ".."} & set(parts):
        return "a name is GROUP/NAME or NAME, of printable characters"
    if parts[0] in (*STATES, *GROUPS) or dataset_of(activation) in _LISTS:
        return "the name has another meaning in the file"
    return ""
