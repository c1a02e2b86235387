"""The functions that the gallery's ``user_custom`` examples name; a plugin file without plugins."""

from emnist_diff.conditions import named


def left_and_right(predictions, step):
    """Toward L in the left half of the picture, toward J in the right half."""
    left, right = predictions.direction(named("L")), predictions.direction(named("J"))
    half = left.shape[-1] // 2
    out = right.clone()
    out[..., :half] = left[..., :half]
    return 2.0 * out


def mirror(x, step):
    """The mean of the state and its mirror image, in the first half of the run."""
    return (x + x.flip(-1)) / 2 if step.at.frac < 0.5 else None
