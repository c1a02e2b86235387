"""Configurations in TOML and JSON, presets in files, and components typed as options: with values of wrong type,
without end, of megabytes, with keys said twice, text that is no Unicode, names that no system takes.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siege import Input

EVIL = (
    "\x1b[2J",
    "a\rb\nc",
    "\x00",
    "\ud800",
    "\udce9",
    "\u202e",
    "",
    " ",
    "../../..",
    "/dev/zero",
    "/etc/passwd",
    "x" * 300,
    "x" * 100_000,
    "é" * 5000,
    "nan",
    "%s%n",
    "{}",
    "-1",
    "os:_exit:",
    "a=b,c",
    "~",
    "$HOME",
    ".",
    "/",
    "con",
    "fifo.toml",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**30,
    1e308,
    -1e-320,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": ""},
    {"name": None},
    {"name": ""},
    {"name": "x" * 5000},
    [1, [2, [3]]],
    {"kind": "table", "points": [[0, 1e308]]},
    {"kind": "function", "name": "no.such:thing"},
    {"kind": "x" * 9999},
    ["A"] * 1000,
    [{"name": "attract_class"}] * 3000,
    *EVIL,
)


def base(folder: Path) -> dict[str, Any]:
    """A configuration that runs, in a second."""
    return {
        "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB", "spread": 0.2},
        "character": "A,B",
        "total_videos": 2,
        "steps": 2,
        "seed": 3,
        "guidance_scale": 2.0,
        "base": "cfg",
        "scheduler": {"name": "ddim", "eta": 0.0},
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 2,
        "forces": [{"name": "attract_class", "target": "B", "weight": {"kind": "ramp", "start": 0, "end": 1}}],
        "drifts": [{"name": "clamp"}],
        "sinks": [{"name": "npz"}],
        "output": str(folder / "out"),
    }


def _paths(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, value in inside for path in [(*here, key), *_paths(value, (*here, key))]]


def _put(data: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def odd_value(data: dict[str, Any], rng: random.Random) -> str:
    for _ in range(rng.choice((1, 1, 2))):
        _put(
            data,
            rng.choice([path for path in _paths(data) if path[0] != "output" or rng.random() < 0.3]),
            rng.choice(ODD),
        )
    return json.dumps(data)


def odd_key(data: dict[str, Any], rng: random.Random) -> str:
    where: Any = rng.choice((data, data["forces"][0], data["scheduler"], data["denoiser"], data["forces"][0]["weight"]))
    where[rng.choice((*EVIL, "guides", "checkpoint", "preset", "epoch", "cfg", "settings", "micro_batch"))] = (
        rng.choice(ODD)
    )
    return json.dumps(data)


def megabytes(data: dict[str, Any], rng: random.Random) -> str:
    size = rng.choice((200_000, 1_500_000))
    value: Any = rng.choice(
        (
            "x" * size,
            [1] * (size // 3),
            {str(n): n for n in range(size // 12)},
            [[0.5, 1]] * (size // 9),
            "\x1b[1m" * (size // 9),
            [{"name": "attract_class", "target": "B"}] * (size // 44),
            ["A"] * (size // 5),
            "A," * (size // 2),
        )
    )
    _put(data, rng.choice(_paths(data)), value)
    return json.dumps(data)


def raw(data: dict[str, Any], rng: random.Random) -> str:
    """What a decoder lets through."""
    path = rng.choice(_paths(data))
    _put(data, path, "RAW")
    depth = rng.choice((70, 900, 100_000))
    value = rng.choice(
        (
            "NaN",
            "-Infinity",
            "1e999",
            "9" * 5000,
            "-" + "9" * 30,
            "[" * depth + "]" * depth,
            '{"a":' * depth + "1" + "}" * depth,
            "[" * depth,
            '"\\ud800"',
            '"\\u0000"',
            '{"a": 1, "a": 2}',
            "1" * 300,
            "0.1e-9999",
            "tru",
            "'x'",
            "\x00",
        )
    )
    return json.dumps(data).replace('"RAW"', value, 1)


def torn(data: dict[str, Any], rng: random.Random) -> str:
    text = list(json.dumps(data))
    for _ in range(rng.choice((1, 3, 30))):
        place = rng.randrange(len(text))
        text[place] = rng.choice((chr(rng.randrange(1, 300)), "", '"', "{", "]", ","))
    return "".join(text)[: rng.choice((None, rng.randrange(len(text))))]


def toml(data: dict[str, Any], rng: random.Random) -> str:
    depth = rng.choice((70, 5000, 100_000))
    line = rng.choice(
        (
            ".".join("a" * depth) + " = 1",
            "[" + ".".join(['"a"'] * depth) + "]",
            "seed = 0x" + "f" * depth,
            "steps = inf",
            "seed = 1979-05-27",
            "a = " + "[" * depth,
            "seed = 1\nseed = 2",
            "output = '\x07'",
            'output = "\\u0000"',
            f"character = '{'x' * depth}'",
            "[[forces]]\n" * (depth // 10),
            "steps = " + "1_" * 2500 + "1",
            "guidance_scale = nan",
            "[denoiser]\n[denoiser]",
            "x = {a = 1, a = 2}",
            f"# {'c' * depth}",
            "\ufeffsteps = 2",
            "forces = [" + "{name = 'none'}," * (depth // 10) + "]",
            "[run]\nsteps = 2",
            "output = '''\n" + "a\n" * depth + "'''",
        )
    )
    return f"total_videos = 2\ndenoiser = 'gaussian-mixture:shape=[2]'\n{line}\n"


KINDS = (odd_value, odd_value, odd_value, odd_key, odd_key, megabytes, raw, torn, toml)


def inputs(folder: Path, rng: random.Random, count: int) -> Iterator[Input]:
    os.mkfifo(folder / "fifo.toml")
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        text = kind(base(folder), rng)
        file = folder / f"c.{'toml' if kind is toml else 'json'}"
        how = rng.randrange(10)
        more: tuple[str, ...] = ("--no-progress", "--overwrite")
        environment: dict[str, str] = {}
        if how < 6:
            name, words = "run --config", ("run", "--config", str(file), *more)
        elif how == 6:
            name, words = (
                "train --config",
                ("train", "--config", str(file), "--output", str(folder / "t"), "--no-progress"),
            )
        elif how == 7:
            name, words = "run --preset", ("run", "--preset", str(file), "--dry-run", *more)
        elif how == 8:
            name, words = "EMNIST_DIFF_CONFIG", ("run", "--dry-run", *more)
            environment = {"EMNIST_DIFF_CONFIG": str(file)}
        else:
            name, words = "run --force", _typed(rng, folder)
        yield Input(
            f"{kind.__name__} ({text[:60]!r} …)",
            ((name, words),),
            before=lambda file=file, text=text: file.write_bytes(text.encode("utf-8", "surrogatepass")),
            environment=environment,
        )


def _typed(rng: random.Random, folder: Path) -> tuple[str, ...]:
    """A component typed as an option; the system takes no null character in one, and at most 128 kB."""
    value = json.dumps(rng.choice(ODD))
    value = value if rng.random() < 0.7 else rng.choice(("[" * 5000, "9" * 5000, "NaN", "\x1b[2J", "\udcff", "1e999"))
    option = rng.choice(("--force", "--drift", "--scheduler", "--sink", "--denoiser", "--preset"))
    name = rng.choice(("attract_class", "clamp", "ddim", "npz", "gaussian-mixture", "subtract", "\x1b[1m", "x" * 9999))
    key = rng.choice(("target", "weight", "eta", "shape", "every", "name", "low", "\x1b", "x" * 9999))
    text = f"{name}:{key}={value}".replace("\0", "")[:100_000]
    denoiser = () if option == "--denoiser" else ("--denoiser", "gaussian-mixture:shape=[2],classes=AB")
    return (
        "run",
        *denoiser,
        option,
        text,
        "--total-videos",
        "2",
        "--steps",
        "2",
        "--output",
        str(folder / "o"),
        "--overwrite",
        "--no-progress",
    )
