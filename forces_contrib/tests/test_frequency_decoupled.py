"""FDG: pyramids and guidance against plain loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN
from emnist_diff.errors import ConfigError

from emnist_diff_forces_contrib.frequency_decoupled import FrequencyDecoupled

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def blurred(x):
    """One image (H, W) under the kernel, mirrored at its edges."""
    padded = np.pad(x, 2, mode="reflect")
    out = np.zeros_like(x)
    for i in range(5):
        for j in range(5):
            out += KERNEL[i, j] * padded[i : i + x.shape[0], j : j + x.shape[1]]
    return out


def line(old, new):
    """The matrix that resamples `old` points on a line to `new` by straight lines, pixels being areas."""
    matrix = np.zeros((new, old))
    for i in range(new):
        place = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
        low = int(place)
        matrix[i, low] += 1 - (place - low)
        matrix[i, min(low + 1, old - 1)] += place - low
    return matrix


def resized(x, size):
    return line(x.shape[0], size[0]) @ x @ line(x.shape[1], size[1]).T


def guided(own, null, scales):
    """The paper's algorithm for one image: both pyramids, each level guided, the image put together."""

    def levels(x):
        out = []
        for _ in scales[1:]:
            small = resized(blurred(x), (x.shape[0] // 2, x.shape[1] // 2))
            out.append(x - blurred(resized(small, x.shape)))
            x = small
        return [*out, x]

    mixed = [n + s * (o - n) for o, n, s in zip(levels(own), levels(null), scales, strict=True)]
    out = mixed[-1]
    for level in reversed(mixed[:-1]):
        out = blurred(resized(out, level.shape)) + level
    return out


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 8), (1, 7, 9), (2, 28, 28), (12, 8)])
@pytest.mark.parametrize("scales", [(4.0,), (4.0, 1.5), (5.0, 2.0, 0.5)])
def test_each_level_is_guided_with_its_own_scale(given, shape, scales):
    case = given(shape, "v_prediction")
    height, width = shape[-2:]
    got = case.of(FrequencyDecoupled(scales=scales)).reshape(-1, height, width)
    pairs = zip(case.own.reshape(-1, height, width), case.null.reshape(-1, height, width), got, strict=True)
    for own, null, image in pairs:
        np.testing.assert_allclose(image, guided(own, null, scales), rtol=0, atol=1e-5)


def test_equal_scales_are_plain_guidance(given):
    case = given((1, 28, 28))
    got = case.of(FrequencyDecoupled(scales=[3, 3, 3]))
    np.testing.assert_allclose(got, case.null + 3 * (case.own - case.null), rtol=0, atol=1e-5)
    assert list(FrequencyDecoupled(scales=[1, 1]).conditions(case.step.at)) == [OWN]
    assert list(FrequencyDecoupled(scales=[1, 2]).conditions(case.step.at)) == [NULL, OWN]


@pytest.mark.parametrize(("shape", "scales"), [((16,), (4, 2)), ((1, 2, 8), (4, 2)), ((1, 8, 8), (4, 3, 2, 1))])
def test_states_that_do_not_split_are_refused_by_shape(given, shape, scales):
    case = given(shape)
    with pytest.raises(ConfigError, match=r"frequency_decoupled: states of shape .* levels"):
        case.of(FrequencyDecoupled(scales=scales))


def test_no_scales_are_refused():
    with pytest.raises(ConfigError, match="scales"):
        FrequencyDecoupled(scales=[])
