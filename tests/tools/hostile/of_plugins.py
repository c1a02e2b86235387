"""Plugins that raise, end the process, hang, print, or hand over records without end and with a terminal's commands."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from siege import Input

AT_IMPORT = (
    "",
    "",
    "",
    "raise BaseException('no')",
    "raise SystemExit",
    "raise KeyboardInterrupt",
    "raise GeneratorExit",
    "import os; os._exit(0)",
    "import os; os._exit(3)",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "import time; time.sleep(99)",
    "while True: pass",
    "print('words')",
    "import os; os.write(1, b'raw{')",
    "import sys; sys.stdout.write('no end')",
    "raise ValueError('x' * 10**7)",
    "raise ValueError('\\x1b[2J\\r')",
    "import sys; sys.exit('bye')",
    "def f(): f()\nf()",
    "import no_such_module",
    "class E(Exception):\n    __str__ = None\nraise E",
    "def __getattr__(name): raise KeyError(name)",
    "import ctypes; ctypes.string_at(0)",
    "syntax error",
    "import sys; sys.setrecursionlimit(10)",
    "import os; os.close(1)",
    "raise RecursionError",
)
PRINTS = frozenset({"words", "x", "raw{x", "no endx"})
"""Lines that these plugins print, alone or after words without an end; they reach stderr."""

RECORD = (
    "ForceSpec(name='fine', factory='PACKAGE:Force', summary='does')",
    "ForceSpec(name='\\x1b[2J', factory='a:B', summary='s')",
    "ForceSpec(name='x' * 10**6, factory='a:B', summary='s')",
    "ForceSpec(name='a', factory='a:B', summary='\\x1b]0;t\\x07')",
    "ForceSpec(name='a', factory='a:B', summary='s' * 10**7)",
    "ForceSpec(name='a', factory='PACKAGE:Gone', summary='line\\nline')",
    "ForceSpec(name='a', factory='a' * 10**6 + ':B', summary='s')",
    "ForceSpec(name='a', factory='a:B', summary='s', aliases=itertools.count())",
    "ForceSpec(name='a', factory='a:B', summary=b's')",
    "ForceSpec(name='a', factory='a:B', summary='s', aliases='abc')",
    "ForceSpec(name='a', factory='a:B', summary='s', api=10**400)",
    "ForceSpec(name='a', factory='a:B', summary='s', deprecated='\\x1b' * 9)",
    "42",
    "None",
    "'text'",
    "object()",
    "type('F', (ForceSpec,), {'summary': property(lambda s: 1/0)})(name='a', factory='a:B', summary='s')",
)
HOOKS = (
    "    yield RECORD",
    "    yield RECORD",
    "    while True:\n        yield RECORD",
    "    return RECORD",
    "    return itertools.repeat(RECORD)",
    "    raise SystemExit(RECORD)",
    "    import os\n    os._exit(9)\n    yield",
    "    return 7",
    "    return [RECORD] * 10**5",
    "    print('x')\n    yield RECORD",
    "    import time\n    time.sleep(99)\n    yield",
    "    raise KeyboardInterrupt\n    yield",
)
FORCE = '''
import attrs

@attrs.frozen
class Force:
    """\x1b[2J Documents."""

    strength: float = attrs.field(default=1.0, metadata={"help": "how\x1b[2J strongly"})

    def conditions(self, at):
        return ()

    def __call__(self, predictions, step):
        return predictions.base * 0
'''
COMMANDS = (
    ("plugins list", ("plugins", "list")),
    ("plugins list --json", ("plugins", "list", "--json")),
    ("plugins list --traceback", ("plugins", "list", "--traceback")),
    ("forces", ("forces",)),
    ("plugins show", ("plugins", "show", "fine")),
    ("plugins show --json", ("plugins", "show", "fine", "--json")),
    ("plugins check", ("plugins", "check", "stranger", "--component", "fine")),
    ("doctor", ("doctor",)),
    ("plugins list --strict-plugins", ("plugins", "list", "--strict-plugins")),
    (
        "run with a plugin",
        (
            "run",
            "--denoiser",
            "gaussian-mixture:shape=[2],classes=AB",
            "--force",
            "fine",
            "--steps",
            "2",
            "--total-videos",
            "1",
            "--sink",
            "npz",
            "--output",
            "o",
            "--overwrite",
            "--no-progress",
        ),
    ),
)


def inputs(folder: Path, rng: random.Random, count: int) -> Iterator[Input]:
    for number in range(count):
        site = folder / f"site{number}"
        at_import, hook, record = rng.choice(AT_IMPORT), rng.choice(HOOKS), rng.choice(RECORD)
        module = f"hostile_plugin_{number}"
        source = (
            f"import itertools\n{FORCE}\n{at_import}\nfrom emnist_diff.hookspecs import hookimpl\n"
            f"from emnist_diff.records import ForceSpec\n\n@hookimpl\ndef emnist_diff_forces():\n"
            f"{hook.replace('RECORD', record).replace('PACKAGE', module)}\n"
        )
        what = f"plugin: {at_import[:30]!r}, {hook.strip()[:30]!r}, {record[:40]!r}"
        if rng.random() < 0.2:
            file = folder / f"{module}.py"
            file.write_text(source)
            words = ("plugins", "list", "--json", "--plugin-file", str(file))
            yield Input(what, (("plugins list --plugin-file", words),), prints=PRINTS)
            continue
        _install(site, module, source, rng)
        name, words = rng.choice(COMMANDS)
        yield Input(what, ((name, words),), site=site, prints=PRINTS)
        shutil.rmtree(site)


def _install(site: Path, module: str, source: str, rng: random.Random) -> None:
    site.mkdir()
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.dist-info"
    info.mkdir()
    version = rng.choice(("1", "1", "1", "\x1b[2J", "9" * 5000))
    if rng.random() < 0.95:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger\nVersion: {version}\n")
    point = rng.choice((module, module, module, module, f"{module}:gone", "no.such", "::", "\x1b[2J", ""))
    (info / "entry_points.txt").write_text(f"[emnist_diff]\nstranger = {point}\n")
