"""What a walk leaves in memory: frames, and the finished sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError
from emnist_diff_inference.capture import CaptureConfig
from emnist_diff_plugins.pictures import enlargement
from emnist_diff_trajectory.pixels import Pixels

Coordinates = list[tuple[int, int, float]]
"""(row, column, value), largest value first."""


def stats(values: npt.ArrayLike) -> dict[str, float]:
    """Mean, population standard deviation, minimum and maximum, computed in float64."""
    data = np.asarray(values, dtype=np.float64)
    return {"mean": float(data.mean()), "std": float(data.std()), "min": float(data.min()), "max": float(data.max())}


def top_coordinates(values: npt.NDArray[Any], count: int) -> Coordinates:
    """The `count` largest values of a map (H, W), largest first, ties in row-major order; [] for what is no map."""
    if values.ndim != 2:
        return []
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    rows, columns = np.unravel_index(order, values.shape)
    return [(int(r), int(c), float(values[r, c])) for r, c in zip(rows, columns, strict=True)]


@briefly
@attrs.frozen(eq=False)
class FrameData:
    """One kept step of one sample. Tensors are on the CPU and must not be changed: a state that one frame ends in is
    the one that the next begins in. What is derived is computed when asked for.

    k: its number among the kept frames, from 0.  step_index: of the step, 0 … total_steps-1, from noise to image.
    timestep: the training timestep shown to the network.  wall_dt: seconds since the walk began.
    alpha_cumprod_t: signal power alpha_bar where the step began.
    alpha_t, beta_t: alpha_bar there over alpha_bar where it ended, and one minus that.

    A property whose data was not kept raises `ConfigError` naming the switch of `CaptureConfig`.
    """

    k: int
    step_index: int
    total_steps: int
    timestep: float
    wall_dt: float
    alpha_t: float
    beta_t: float
    alpha_cumprod_t: float
    _capture: CaptureConfig = attrs.field(repr=False)
    _upscale: int | None = attrs.field(repr=False)
    _before: Tensor | None = attrs.field(repr=False)
    _after: Tensor | None = attrs.field(repr=False)
    _image: Pixels | None = attrs.field(repr=False)
    _previous: Pixels | None = attrs.field(repr=False)

    @property
    def t_index(self) -> int:
        """Another name of `step_index`."""
        return self.step_index

    @property
    def latent(self) -> Tensor:
        """The state that the step ended in, drifts included; float32 (*shape)."""
        self._need("latent", "save_latents", self._capture.keeps_latents)
        return self._states()[1]

    @property
    def delta_x(self) -> Tensor:
        """The change of the state in this step, drifts included; (*shape), in ``delta_dtype``."""
        self._need("delta_x", "save_latents", self._capture.keeps_latents)
        return self._change().to(getattr(torch, self._capture.delta_dtype))

    @property
    def delta_x_l2(self) -> float:
        """The L2 norm of the change of the state, from its float32 values."""
        self._need("delta_x_l2", "save_latents", self._capture.keeps_latents)
        return float(self._change().double().norm())

    @property
    def stats_delta_x(self) -> dict[str, float]:
        """`stats` of the change of the state."""
        self._need("stats_delta_x", "save_latents", self._capture.keeps_latents)
        return stats(self._change().numpy())

    @property
    def active_latent_mask(self) -> Tensor:
        """Where |change of the state| > ``active_latent_threshold``; bool (*shape)."""
        self._need("active_latent_mask", "save_latents", self._capture.keeps_latents)
        return self._change().abs() > self._capture.active_latent_threshold

    @property
    def top_latent_coords(self) -> Coordinates:
        """The ``top_n_coords`` places that changed most, by L2 norm over channels; [] for states that are no images."""
        self._need("top_latent_coords", "save_latents", self._capture.keeps_latents)
        return top_coordinates(self._latent_map(), self._capture.top_n_coords)

    @property
    def x_before(self) -> Tensor:
        """The state that the step began in; float32 (*shape)."""
        self._need("x_before", "save_x_before_after", self._capture.keeps_x_before_after)
        return self._states()[0]

    @property
    def x_after(self) -> Tensor:
        """The state that the step ended in; float32 (*shape)."""
        self._need("x_after", "save_x_before_after", self._capture.keeps_x_before_after)
        return self._states()[1]

    @property
    def delta_x_l2_map(self) -> npt.NDArray[np.float64]:
        """The L2 norm of the change of the state over channels: (H, W) for states (C, H, W) and (H, W)."""
        self._need("delta_x_l2_map", "save_l2_maps", self._capture.keeps_l2_maps)
        return self._latent_map()

    @property
    def latent_u8(self) -> Pixels:
        """The decoded state, uint8 (H, W) or (H, W, C), at its own size."""
        self._need("latent_u8", "save_pixels", self._capture.keeps_pixels)
        return self._shown()[0]

    @property
    def frame_u8(self) -> Pixels:
        """The decoded state with each pixel as a square of ``VideoConfig.upscale``; uint8 (H, W) or (H, W, C)."""
        self._need("frame_u8", "save_pixels", self._capture.keeps_pixels)
        return enlarged(self._shown()[0], self._factor)

    @property
    def stats_pixel(self) -> dict[str, float]:
        """`stats` of `latent_u8`, 0 … 255."""
        self._need("stats_pixel", "save_pixels", self._capture.keeps_pixels)
        return stats(self._shown()[0])

    @property
    def delta_pixel(self) -> npt.NDArray[np.int16]:
        """`frame_u8` minus that of the frame kept before, -255 … 255; zero for the first."""
        self._need("delta_pixel", "save_deltas", self._capture.keeps_deltas)
        return enlarged(self._pixel_change(), self._factor)

    @property
    def stats_delta_pixel(self) -> dict[str, float]:
        """`stats` of `delta_pixel`."""
        self._need("stats_delta_pixel", "save_deltas", self._capture.keeps_deltas)
        return stats(self._pixel_change())

    @property
    def delta_pixel_l2(self) -> float:
        """The L2 norm of `delta_pixel`."""
        self._need("delta_pixel_l2", "save_deltas", self._capture.keeps_deltas)
        return float(np.linalg.norm(self._pixel_change().astype(np.float64))) * self._factor

    @property
    def active_pixel_mask(self) -> npt.NDArray[np.bool_]:
        """Where |delta_pixel| > ``active_pixel_threshold``."""
        self._need("active_pixel_mask", "save_deltas", self._capture.keeps_deltas)
        return np.abs(self.delta_pixel) > self._capture.active_pixel_threshold

    @property
    def top_pixel_coords(self) -> Coordinates:
        """The ``top_n_coords`` pixels of `delta_pixel` that changed most, by L2 norm over channels."""
        self._need("top_pixel_coords", "save_deltas", self._capture.keeps_deltas)
        return top_coordinates(_over_channels(self.delta_pixel, -1), self._capture.top_n_coords)

    @property
    def delta_pixel_l2_map(self) -> npt.NDArray[np.float64]:
        """The L2 norm of `delta_pixel` over channels, (H, W)."""
        self._need("delta_pixel_l2_map", "save_l2_maps", self._capture.keeps_l2_maps)
        return _over_channels(enlarged(self._pixel_change(), self._factor), -1)

    @property
    def _factor(self) -> int:
        """The squares that pixels become."""
        return enlargement(8, self._shown()[0].shape[:2], self._upscale)

    def _need(self, name: str, switch: str, on: bool) -> None:
        if not on:
            raise ConfigError(f"FrameData.{name} was not kept — use CaptureConfig({switch}=True)")

    def _states(self) -> tuple[Tensor, Tensor]:
        assert self._before is not None
        assert self._after is not None
        return self._before, self._after

    def _change(self) -> Tensor:
        before, after = self._states()
        return after - before

    def _latent_map(self) -> npt.NDArray[np.float64]:
        return _over_channels(self._change().numpy(), 0)

    def _shown(self) -> tuple[Pixels, Pixels]:
        assert self._image is not None
        return self._image, self._image if self._previous is None else self._previous

    def _pixel_change(self) -> npt.NDArray[np.int16]:
        image, previous = self._shown()
        return image.astype(np.int16) - previous.astype(np.int16)


def picture(frame: FrameData) -> Pixels:
    """`FrameData.frame_u8` of a frame that somebody watches, whatever is kept."""
    return enlarged(frame._shown()[0], frame._factor)


def enlarged(pixels: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Pixels (H, W) or (H, W, C), each a square of `factor`."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _over_channels(values: npt.NDArray[Any], axis: int) -> npt.NDArray[np.float64]:
    """The L2 norm over the channel axis of what has one (three axes); absolute values otherwise."""
    data = np.asarray(values, dtype=np.float64)
    norm: npt.NDArray[np.float64] = np.linalg.norm(data, axis=axis) if data.ndim == 3 else np.abs(data)
    return norm


@briefly
@attrs.frozen(eq=False)
class GenerationResult:
    """A finished sample, and the frames of its way. Tensors are float32 on the CPU.

    index: of the sample in the run.  seed: of the run; a sample's noise is keyed by both.
    character: its class, None where neither base nor forces read it.  label: the index of the class that it was dealt.
    x_init, x_final: first and last state, (*shape).
    frames: the kept steps in order.  final_image: the decoded sample, uint8 (H, W) or (H, W, C).
    total_time: seconds of the walk that made it.  micro_batch: rows of every network call.
    """

    index: int
    seed: int
    character: str | None
    label: int
    x_init: Tensor = attrs.field(repr=False)
    x_final: Tensor = attrs.field(repr=False)
    frames: tuple[FrameData, ...] = attrs.field(repr=False)
    final_image: Pixels = attrs.field(repr=False)
    total_time: float
    micro_batch: int

    @property
    def delta_x_stack(self) -> Tensor:
        """`FrameData.delta_x` of all frames, (frames, *shape)."""
        return torch.stack([frame.delta_x for frame in self.frames])

    @property
    def delta_x_l2(self) -> npt.NDArray[np.float64]:
        """`FrameData.delta_x_l2` of all frames, (frames,)."""
        return self._each(lambda frame: frame.delta_x_l2)

    @property
    def delta_pixel_l2(self) -> npt.NDArray[np.float64]:
        """`FrameData.delta_pixel_l2` of all frames, (frames,)."""
        return self._each(lambda frame: frame.delta_pixel_l2)

    @property
    def delta_x_l2_map(self) -> npt.NDArray[np.float64]:
        """`FrameData.delta_x_l2_map` of all frames, (frames, H, W)."""
        return self._each(lambda frame: frame.delta_x_l2_map)

    @property
    def delta_pixel_l2_map(self) -> npt.NDArray[np.float64]:
        """`FrameData.delta_pixel_l2_map` of all frames, (frames, H, W)."""
        return self._each(lambda frame: frame.delta_pixel_l2_map)

    def _each(self, value: Callable[[FrameData], Any]) -> npt.NDArray[np.float64]:
        return np.array([value(frame) for frame in self.frames], dtype=np.float64)
