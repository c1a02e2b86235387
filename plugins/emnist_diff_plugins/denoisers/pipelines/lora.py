"""LoRA (Hu et al., 2021, arXiv:2106.09685): W + scale · (alpha / rank) · B A, from the files that diffusers, kohya and
others write. diffusers reads them and adds them to a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff_plugins.containers import tensorfile
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder

WITHOUT = "without_lora"
"""The variant of a network as it is without its LoRA."""

_LOADERS = {
    "sdxl": "StableDiffusionXLLoraLoaderMixin",
    "sd3": "SD3LoraLoaderMixin",
    "flux": "FluxLoraLoaderMixin",
}
"""What reads and adds them, by family."""


@attrs.frozen
class Lora:
    """A file and how much of it is added."""

    path: Path
    scale: float

    @classmethod
    def parse(cls, text: str) -> Lora:
        """What ``FILE`` or ``FILE:0.8`` means. Raises `ConfigError` for a scale that is no finite number."""
        name, colon, number = text.rpartition(":")
        try:
            scale = float(number) if colon else 1.0
        except ValueError:
            return cls(Path(text), 1.0)
        if not -100 <= scale <= 100:
            raise ConfigError(f"LoRA {text!r:.80}: the scale {number} is not within -100 … 100")
        return cls(Path(name if colon else text), scale)

    def require(self) -> None:
        """Raise `CheckpointError` for a file that is missing, truncated, or no ``.safetensors`` file."""
        if self.path.suffix != ".safetensors":
            raise CheckpointError(f"LoRA {self.path} is no .safetensors file — others may run code and are not read")
        tensorfile.read(self.path)


def added(module: Any, part: str, adapters: Sequence[Lora], folder: PipelineFolder) -> None:
    """Add what some files hold for a part of a pipeline. Raises `CheckpointError` for the LoRA of another model."""
    if not adapters:
        return
    if not parts.available("peft"):
        raise ConfigError(f"a LoRA needs peft, which is not installed — {parts.EXTRA}")
    network = not part.startswith("text_encoder")
    names = []
    for number, adapter in enumerate(adapters):
        with _blamed(adapter):
            state, more = _read(adapter, folder, module if network else None)
            prefixes = _prefixes(state)
            if (part in prefixes) or (network and not prefixes):
                _load(module, part, state, more, f"lora_{number}", folder)
                names.append((f"lora_{number}", adapter.scale))
                if f"lora_{number}" not in getattr(module, "peft_config", {}):
                    raise ValueError("none of its tensors belongs to this network")
            elif network and not any(prefix.startswith("text_encoder") for prefix in prefixes):
                raise ValueError(f"it is for {', '.join(sorted(prefixes)) or 'nothing known'}, and not for {part}")
    if names and network:
        module.set_adapters([name for name, _ in names], [scale for _, scale in names])
    elif names:
        activate: Any = import_module("diffusers.utils").set_weights_and_activate_adapters
        activate(module, [name for name, _ in names], [scale for _, scale in names])


@contextmanager
def without(network: Any) -> Iterator[None]:
    """The network as it is without its LoRA, for as long as the context lasts."""
    network.disable_adapters()
    try:
        yield
    finally:
        network.enable_adapters()


def _prefixes(state: Iterable[str]) -> set[str]:
    known = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
    return {first for key in state if (first := key.partition(".")[0]) in known}


def _loader(folder: PipelineFolder) -> Any:
    return getattr(import_module("diffusers.loaders"), _LOADERS[folder.family])


def _read(adapter: Lora, folder: PipelineFolder, network: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of a file under diffusers' names, and what else loading them takes."""
    from safetensors.torch import load_file

    held, loader = load_file(adapter.path), _loader(folder)
    if folder.family == "sdxl":
        config = network.config if network is not None else None
        state, alphas, metadata = loader.lora_state_dict(held, return_lora_metadata=True, unet_config=config)
        return state, {"network_alphas": alphas, "metadata": metadata}
    if folder.family == "sd3":
        state, metadata = loader.lora_state_dict(held, return_lora_metadata=True)
        return state, {"metadata": metadata}
    state, alphas, metadata = loader.lora_state_dict(held, return_alphas=True, return_lora_metadata=True)
    return state, {"network_alphas": alphas, "metadata": metadata}


def _load(
    module: Any, part: str, state: dict[str, Any], more: dict[str, Any], name: str, folder: PipelineFolder
) -> None:
    loader = _loader(folder)
    if part == "unet":
        loader.load_lora_into_unet(state, unet=module, adapter_name=name, **more)
    elif part == "transformer":
        loader.load_lora_into_transformer(state, transformer=module, adapter_name=name, **more)
    else:
        more = {"network_alphas": None, **more}
        module.load_adapter = partial(_inject, module)  # that of transformers needs a newer peft than there may be
        loader.load_lora_into_text_encoder(state, text_encoder=module, prefix=part, adapter_name=name, **more)


def _inject(module: Any, *, adapter_name: str, adapter_state_dict: dict[str, Any], peft_config: Any) -> None:
    """Add tensors under peft's names to a text encoder, by peft itself."""
    peft: Any = import_module("peft")
    peft.inject_adapter_in_model(peft_config, module, adapter_name)
    peft.set_peft_model_state_dict(module, adapter_state_dict, adapter_name)


class _blamed:
    """What diffusers and peft raise, as a `CheckpointError` that names the file."""

    def __init__(self, adapter: Lora) -> None:
        self.adapter = adapter

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | RuntimeError | KeyError | TypeError | AttributeError):
            reason = " ".join(str(error).split())[:160]
            raise CheckpointError(
                f"LoRA {self.adapter.path} does not fit this network, it is of another model: {reason}"
            ) from error
