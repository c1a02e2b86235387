"""What is kept of each step, and how images are shown: `CaptureConfig` and `VideoConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff.structuring import as_written, unstructure
from emnist_diff_inference.checks import flag, named, number, one_of, setting, whole

_T = TypeVar("_T", bound="Settings")


@attrs.frozen
class Settings:
    """What the configurations have in common."""

    @classmethod
    def from_dict(cls: type[_T], data: Mapping[str, Any]) -> _T:
        """The configuration from plain data, as `to_dict` or a TOML or JSON file gives it; what is left out has its
        default.

        Raises `UnknownName` for an unknown key, with the nearest known ones, and `ConfigError` for a bad value.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"{cls.__name__}: expected a table of settings, got {shown(data)}")
        return cls(**{str(key): value for key, value in data.items()})

    @classmethod
    def taken(cls: type[_T], data: Any) -> Any:
        """The configuration that `data` is already, or is a table of; anything else as it is."""
        return cls.from_dict(data) if isinstance(data, Mapping) else data

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data that `from_dict` turns back into an equal configuration."""
        return dict(unstructure(self))


@briefly
@as_written
@attrs.frozen(kw_only=True)
class CaptureConfig(Settings):
    """What is kept of each step. A `FrameData` refuses what was not kept, naming the switch.

    `generate_sample` keeps all in memory and writes nothing. Files are written by a run of the same configuration
    (``emnist_diff.run(config.to_run_config())``): trajectory.h5 with every step, and those asked for here.
    """

    archive_mode: str = setting(
        "tier1", "tier1, or tier2: also pixels, L2 maps, states before and after", one_of("tier1", "tier2")
    )
    save_latents: bool | None = setting(
        None,
        "keep the states and what follows from them (delta_x), as None does; True: a run also writes each to a file",
        flag,
        written="latents",
        kept=True,
    )
    save_pixels: bool = setting(True, "keep decoded images", flag)
    save_deltas: bool | None = setting(
        None,
        "keep the differences of decoded images, as None does; True: a run also writes each to a file",
        flag,
        written="deltas",
        kept=True,
    )
    save_l2_maps: bool = setting(False, "give maps of the L2 norm of changes over channels", flag)
    save_x_before_after: bool = setting(False, "give the state before and after each step", flag)
    save_every: int = setting(1, "keep every n-th step, and the last", whole(1))
    delta_dtype: str = setting("float16", "dtype of delta_x: float16 or float32", one_of("float16", "float32"))
    active_latent_threshold: float = setting(1e-4, "|delta_x| above which a value is active, ≥ 0", number(0))
    active_pixel_threshold: float = setting(1, "|delta_pixel| above which a pixel is active, 0 … 255", number(0, 255))
    top_n_coords: int = setting(1000, "how many of the most changed places are listed", whole(0))
    save_frames: bool = setting(False, "a run writes a picture of every kept step", flag, written="frames")
    save_video: bool = setting(False, "a run writes a video of every sample", flag, written="video")
    save_meta: bool = setting(False, "a run writes metadata.json and index.json", flag, written="meta")
    latent_format: str | None = setting(
        None,
        "format of save_latents: npy or pt; alone it means save_latents",
        one_of("npy", "pt"),
        written="latents",
    )
    frame_format: str = setting("png", "format of save_frames: png or jpg", one_of("png", "jpg"))

    @property
    def keeps_latents(self) -> bool:
        """Whether states and what follows from them are kept."""
        return self.save_latents is not False

    @property
    def keeps_deltas(self) -> bool:
        """Whether the differences of decoded images are kept."""
        return self.save_deltas is not False

    @property
    def keeps_pixels(self) -> bool:
        """Whether decoded images are kept."""
        return self.save_pixels or self.archive_mode == "tier2"

    @property
    def keeps_l2_maps(self) -> bool:
        """Whether frames have L2 maps."""
        return self.save_l2_maps or self.archive_mode == "tier2"

    @property
    def keeps_x_before_after(self) -> bool:
        """Whether frames have the states before and after."""
        return self.save_x_before_after or self.archive_mode == "tier2"

    def saves(self, step_index: int, steps: int) -> bool:
        """Whether this step, 0 … steps-1, is kept."""
        return step_index % self.save_every == 0 or step_index == steps - 1


@briefly
@as_written
@attrs.frozen(kw_only=True)
class VideoConfig(Settings):
    """How images are shown, in memory (`upscale`) and in the files of a run."""

    upscale: int | None = setting(
        None,
        "each pixel is a square of this many; None: 8, and less where the longer side would pass 512",
        whole(1, 257),
    )
    write_video: bool = setting(False, "a run writes a video of every sample", flag, written="video")
    fps: int = setting(60, "frames a second of videos", whole(1, 1001))
    codec: str = setting("libx264", "encoder of videos, as FFmpeg calls it", named)
    pixel_format: str = setting("yuv420p", "pixel format of videos, as FFmpeg calls it", named)
