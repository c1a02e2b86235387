"""Our forces as a guider of diffusers' modular pipelines."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders.guider_utils import BaseGuidance, GuiderOutput
from torch import Tensor

from emnist_diff.conditions import NULL, OWN, Cond
from emnist_diff.engine.base import BaseKind
from emnist_diff.engine.evaluation import Evaluation
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.diffusers.forced import Forced, ForceSettings, require_single
from emnist_diff_plugins.diffusers.levels import Levels
from emnist_diff_plugins.diffusers.texts import Texts, with_text


class ForceGuider(BaseGuidance):
    """Base and forces of this package in place of a guider of diffusers, in a modular pipeline::

        guider = ForceGuider(forces=[{"name": "repel_class", "target": "a dog"}], guidance_scale=5.0)
        guider.attach(pipeline)
        image = pipeline(prompt="a cat", output="images")[0]

    A force's ``own`` is the prompt, ``null`` the negative prompt, and any other target a text of its own, which the
    text encoders of the pipeline encode before the first step; each condition that a step reads is one call of the
    network.

    forces: names, or tables of a name, settings, ``weight``, ``clip_abs`` and ``clip_norm``, as in a configuration.
    base: ``cfg``, ``cond`` or ``uncond``.  guidance_scale: of ``cfg``.
    seed: of the noise that a force draws.
    start, stop: fractions of the steps between which base and forces act, as other guiders count them; the others take
    the prompt's prediction.  enabled: whether they act at all.

    Raises `ConfigError`, `UnknownName` or `PluginError` for forces that are none or have wrong settings, and
    `ConfigError` for those that need what a guider cannot give: gradients, states of images, guides and variants of the
    network, numbers beside a condition.
    """

    _input_predictions = ["prediction"]  # type: ignore[assignment]  # noqa: RUF012  # a list, as in diffusers' own guiders

    @register_to_config  # type: ignore[untyped-decorator]  # diffusers has no types
    def __init__(
        self,
        *,  # diffusers takes what is given by position for a default, and leaves it out of copies
        forces: Sequence[str | Mapping[str, Any]] = (),
        base: BaseKind = "cfg",
        guidance_scale: float = 7.5,
        seed: int = 0,
        start: float = 0.0,
        stop: float = 1.0,
        enabled: bool = True,
    ) -> None:
        super().__init__(start, stop, enabled)
        self._settings = ForceSettings.of(forces, base, guidance_scale, seed)
        self._pipeline: Any = None
        self._forced: Forced | None = None
        self._conds: tuple[Cond, ...] = ()
        self._texts: Texts | None = None
        self._x: Tensor | None = None
        self._hook: Any = None
        self.evaluation: Evaluation | None = None
        """Base, contributions and sum of the last step, (B, *shape) float32; None where they did not act."""

    @property
    def weights(self) -> tuple[tuple[str, float], ...]:
        """Name and weight of each force at the last step, in order."""
        return () if self._forced is None or self._step is None else self._forced.weights(self._step)

    def attach(self, pipeline: Any) -> None:
        """Become the guider of a modular pipeline. Raises `ConfigError` for one that has none, and for a scheduler that
        evaluates twice a step or is not among `levels.KINDS`."""
        if "guider" not in getattr(pipeline, "_component_specs", {}):
            raise ConfigError(
                f"{type(pipeline).__name__} has no guider — ForceGuider is for modular pipelines with one"
            )
        require_single(Levels.of(pipeline.scheduler))
        self._pipeline = weakref.ref(pipeline)
        pipeline.update_components(guider=self)

    def set_state(self, step: int, num_inference_steps: int, timestep: Any) -> None:
        """See diffusers: called at each step, before `prepare_inputs`."""
        super().set_state(step, num_inference_steps, timestep)
        if step == 0 or self._forced is None:
            pipeline = None if self._pipeline is None else self._pipeline()
            if pipeline is None:
                raise ConfigError("ForceGuider: it has no pipeline — call attach(pipeline) before the pipeline")
            self._forced = Forced.of(self._settings, pipeline.scheduler, timestep, num_inference_steps)
            self._texts = Texts.encoded(pipeline, self._forced.texts())
        self._conds = self._forced.conditions(step) if self._acts() else (OWN,)

    def prepare_inputs(self, data: Any) -> list[Any]:
        """See diffusers: what each condition of the step has the network given.  data: pairs of the prompt's and the
        negative prompt's, by name."""
        paired = {key: value for key, value in data.items() if isinstance(value, tuple)}
        return [
            self._text(cond, paired, self._prepare_batch(data, int(cond == NULL), _name(number)))
            for number, cond in enumerate(self._required(paired))
        ]

    def prepare_inputs_from_block_state(self, data: Any, input_fields: Any) -> list[Any]:
        """See diffusers: the same from the names of the block state's fields."""
        names = {key: value for key, value in input_fields.items() if isinstance(value, tuple)}
        paired = {key: tuple(getattr(data, name, None) for name in pair) for key, pair in names.items()}
        return [
            self._text(cond, paired, self._prepare_batch_from_block_state(input_fields, data, int(cond == NULL), name))
            for cond, name in ((c, _name(number)) for number, c in enumerate(self._required(paired)))
        ]

    def _required(self, paired: Mapping[str, Any]) -> tuple[Cond, ...]:
        """The conditions of the step. Raises `ConfigError` where the pipeline did not prepare the negative prompt's."""
        if NULL in self._conds and not any(pair[1] is not None for pair in paired.values()):
            raise ConfigError("ForceGuider: the pipeline prepared no negative prompt — give it one, or use base='cond'")
        return self._conds

    def _text(self, cond: Cond, paired: Mapping[str, Any], batch: Any) -> Any:
        assert self._texts is not None
        return batch if cond in (OWN, NULL) else with_text(batch, paired, cond, self._texts)

    def prepare_models(self, denoiser: torch.nn.Module) -> None:
        """See diffusers: called before each call of the network, whose state is noted."""
        super().prepare_models(denoiser)
        self._hook = denoiser.register_forward_pre_hook(self._note, with_kwargs=True)

    def cleanup_models(self, denoiser: torch.nn.Module) -> None:
        """See diffusers."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _note(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._x = args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))

    def __call__(self, data: Sequence[Any]) -> Any:
        """The prediction of a step from the batches of `prepare_inputs`, each with its ``noise_pred``."""
        return self.forward(*(batch.noise_pred for batch in data))

    def forward(self, *predictions: Tensor) -> Any:
        """The prediction from those of the step's conditions, in order; (B, *shape) each. Raises `RunFailed` where a
        force misbehaves."""
        known = dict(zip(self._conds, predictions, strict=True))
        own, null = known.get(OWN), known.get(NULL)
        self.evaluation = None
        if not self._acts():
            return GuiderOutput(pred=predictions[0], pred_cond=own, pred_uncond=None)
        assert self._forced is not None
        assert self._step is not None
        states = self._states(predictions[0])
        answers = {cond: prediction.float() for cond, prediction in known.items()}
        self.evaluation = self._forced.evaluate(self._step, states, answers)
        return GuiderOutput(pred=self.evaluation.sum.to(predictions[0].dtype), pred_cond=own, pred_uncond=null)

    def _states(self, like: Tensor) -> Tensor:
        """What the network was given as the state, (B, *shape), without what stands beside it, such as a mask."""
        assert self._x is not None
        x = self._x
        for axis, size in enumerate(like.shape):
            x = x.narrow(axis, 0, size)
        return x.float()

    def _acts(self) -> bool:
        """Whether base and forces act at this step; counted as diffusers' own guiders do."""
        if not self._enabled or self._step is None:
            return bool(self._enabled)
        first, last = (int(part * self._num_inference_steps) for part in (self._start, self._stop))
        return first <= self._step < last

    @property
    def is_conditional(self) -> bool:
        """See diffusers: whether the call of the network that comes is of no negative prompt."""
        number = max(0, self._count_prepared - 1)
        return number >= len(self._conds) or self._conds[number] != NULL

    @property
    def num_conditions(self) -> int:
        """See diffusers: more than 1 has pipelines prepare the negative prompt, which some step may read."""
        return max(2, len(self._conds)) if self._settings.reads_null else 1  # a pipeline may enable it later


def _name(number: int) -> str:
    return f"condition_{number}"
