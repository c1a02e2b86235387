"""How variants are written, declared and refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import Cond, pack
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.variants import Variant, understood

DECLARED = ("identity", "identity:all", "blur@SIGMA")


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("identity", Variant("identity")),
        ("identity:all", Variant("identity", None, True)),
        ("blur@3", Variant("blur", 3.0)),
        ("blur@0.5:all", Variant("blur", 0.5, True)),
    ],
)
def test_grammar(text, variant):
    assert Variant.parse(text) == variant
    assert str(variant) == text


@given(st.from_regex(r"[a-z_]+", fullmatch=True), st.none() | st.floats(1e-3, 1e3), st.booleans())
def test_what_is_written_is_read_back(name, value, everywhere):
    variant = Variant(name, value, everywhere)
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize(
    "text", ["", "a b", ":all", "@3", "blur@", "blur@x", "blur@0", "blur@-1", "blur@nan", "blur@inf", "blur@3:some"]
)
def test_what_is_none(text):
    with pytest.raises(ConfigError, match="variant '"):
        Variant.parse(text)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("identity", True),
        ("identity:all", True),
        ("blur@3", True),
        ("blur", False),
        ("blur@3:all", False),
        ("identity@2", False),
        ("ident", False),
    ],
)
def test_what_is_declared(asked, known):
    assert understood(asked, DECLARED) is known


PLUGIN = """
import attrs
from emnist_diff.conditions import Cond
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec


@hookimpl
def emnist_diff_forces():
    yield ForceSpec(name="{module}", factory="{module}:Asking", summary="asks for a variant")


@attrs.frozen
class Asking:
    variant: str = "attention_identity"

    def conditions(self, at):
        return (Cond("own", variant=self.variant),)

    def __call__(self, predictions, step):
        return 0 * predictions[Cond("own", variant=self.variant)]
"""


@pytest.fixture
def asking(tmp_path):
    """A registry with a force that asks for a variant."""
    file = tmp_path / "asking_for_variants.py"
    file.write_text(PLUGIN.format(module=file.stem))
    return with_files([file])


def test_a_variant_that_is_not_declared_fails_before_any_work(asking, tmp_path):
    settings = {"steps": 2, "forces": ["asking_for_variants"], "output": str(tmp_path / "out")}
    mixture = {"name": "gaussian-mixture", "shape": [3], "classes": "AB"}
    with pytest.raises(ConfigError, match=r"'gaussian-mixture' has no variant .*identity' — it has no variants"):
        assemble(asking, configure(asking, {**settings, "denoiser": mixture})[0])
    wrong = {"name": "asking_for_variants", "variant": "attention_blurred"}
    with pytest.raises(ConfigError, match=r"'unet2d' has no variant 'attention_blurred' — .*attention_blur@SIGMA"):
        assemble(asking, configure(asking, {**settings, "forces": [wrong]})[0])
    assert not (tmp_path / "out").exists()


def test_rows_are_grouped_by_network_and_variant():
    from emnist_diff_plugins.spaces import ClassSpace

    space = ClassSpace(("A", "B"), 2)
    conds = [Cond("own"), Cond("null"), Cond("own", variant="identity"), Cond("class", "A", variant="identity")]
    packing = pack(conds, [0, 1], {"": space})
    assert [(g.variant, len(g.sample)) for g in packing.groups] == [("", 4), ("identity", 3)]
