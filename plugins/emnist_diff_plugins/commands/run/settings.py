"""Options of commands made of the fields of a settings class, so that a setting is written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

import attrs
import typer

from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.structuring import hints
from emnist_diff_plugins import parse
from emnist_diff_plugins.commands.switches import sign

_Command = TypeVar("_Command", bound=Callable[..., None])


def takes(cls: type) -> Callable[[_Command], _Command]:
    """A decorator that gives a command, in place of its ``**settings``, an option for each field of `cls` that has a
    ``panel``. On the help page they stand after the command's positional options and before its keyword ones."""

    def dressed(command: _Command) -> _Command:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        first = len([p for p in own if p.kind is not p.KEYWORD_ONLY])
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
        sign(command, [*own[:first], *(setting.parameter() for setting in _settings(cls)), *own[first:]])
        return command

    return dressed


def layer(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the values of a command's options, as data for a configuration; what was not given is left
    out. Raises `ConfigError` naming the option for text that cannot be read."""
    return {
        setting.field.name: setting.read(given[setting.field.name])
        for setting in _settings(cls)
        if given[setting.field.name] not in (None, [])
    }


def _settings(cls: type) -> Iterator[_Setting]:
    for field in attrs.fields(cls):
        if "panel" in field.metadata:
            yield _Setting(field, field.metadata, _kinds(hints(cls)[field.name]))


def _kinds(hint: Any) -> set[Any]:
    """The types in an annotation: of ``tuple[ComponentConfig, ...]`` both."""
    return {get_origin(hint) or hint}.union(*map(_kinds, get_args(hint)))


@attrs.frozen
class _Setting:
    """A field, its metadata as the settings class writes them, and the types in its annotation."""

    field: Any
    metadata: Mapping[str, Any]
    kinds: set[Any]

    def parameter(self) -> inspect.Parameter:
        """The parameter that Typer makes the option of."""
        option = typer.Option(
            [] if self.repeated else None,
            *(f"{text}/--no-{text[2:]}" if bool in self.kinds else text for text in self.texts),
            help=self.help(),
            rich_help_panel=self.metadata["panel"],
            show_default=False,
        )
        return inspect.Parameter(self.field.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=self.type)

    def read(self, value: Any) -> Any:
        """What the value of the option means in a configuration."""
        option = self.texts[0]
        if "read" in self.metadata:
            return self.metadata["read"](value, option)
        if Mapping in self.kinds:
            return parse.named_files(value, option)
        if ComponentConfig in self.kinds:
            return [parse.component(t, option) for t in value] if self.repeated else parse.component(value, option)
        return value

    @property
    def texts(self) -> tuple[str, ...]:
        """``--batch-size``, and the other spellings; what may be repeated is named in the singular: ``--force``."""
        spellings = (self.field.name, *self.metadata.get("aliases", ()))
        names = (self.field.name.removesuffix("s"),) if self.repeated else spellings
        return tuple(f"--{name.replace('_', '-')}" for name in names)

    @property
    def repeated(self) -> bool:
        """Whether the option may be given several times: tables and lists of components are written so."""
        return "several" in self.metadata or Mapping in self.kinds or {tuple, ComponentConfig} <= self.kinds

    @property
    def type(self) -> Any:
        """What Typer makes of the option's text."""
        if self.repeated:
            return list[str]
        return next(
            (k | None for k in (bool, int, float) if k in self.kinds and "read" not in self.metadata), str | None
        )

    def help(self) -> str:
        """The sentence of the help page: what the setting is, whether it may be repeated, what holds without it."""
        text = self.metadata["help"]
        sentence = text[0].upper() + text[1:] + ("; may be repeated." if self.repeated else "." * (text[-1] != "…"))
        default = self.metadata.get("otherwise", self.default())
        return f"{sentence} [default: {default}]" if default else sentence

    def default(self) -> str:
        """What holds where the setting is left out; "" for what goes without saying."""
        value = self.field.default
        if "kind" in self.metadata:
            registry = installed()
            entries = registry.of(registry.kinds[self.metadata["kind"]])
            text = " and ".join(e.spec.name for e in entries if e.spec.default)
        elif isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
            held = value.factory()
            text = held.name if isinstance(held, ComponentConfig) else ""
        elif isinstance(value, bool):
            text = self.texts[0][2:] if value else f"no-{self.texts[0][2:]}"
        else:
            text = f"{value:g}" if isinstance(value, float) else str(value or "")
        return f"the checkpoint's, else {text}" if self.metadata.get("recommended") else text
