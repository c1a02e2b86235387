"""The tokens of texts as the layers of a network attend to them, in words that a person knows again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.text import Encoder

_START, _END = "▁", "</w>"
"""What begins a word among the pieces of T5, and what ends one among those of CLIP."""


def token_lists(
    folder: PipelineFolder, groups: Sequence[Sequence[Encoder]], texts: Mapping[str, str], length: int
) -> dict[str, dict[str, list[Any]]]:
    """Of each text, by the name under which it goes, `length` tokens: lists of ``text``, ``id``, ``special`` (1 for
    begin, end and filling), ``word`` (the number of the word, -1 for special ones) and ``encoder``.

    groups: encoders whose tokens stand behind each other, those together with the same tokens.
    """
    present = [group[0] for group in groups if group and folder.part_class(group[0].part) is not None]
    read = {encoder: parts.tokenizer(folder, encoder.tokenizer) for encoder in present}
    fixed = sum(group[0].longest or 0 for group in groups)
    out = {}
    for name, text in texts.items():
        lists: dict[str, list[Any]] = {key: [] for key in ("text", "id", "special", "word", "encoder")}
        for encoder, tokenizer in read.items():
            room = encoder.longest or length - fixed
            chunks = encoder.tokens(tokenizer, text)
            ids = [token for chunk in chunks for token in chunk.ids]
            own = [number >= 0 for chunk in chunks for number in chunk.fragments]
            filling = tokenizer.pad_token_id
            ids += [filling] * (room - len(ids))
            own += [False] * (room - len(own))
            pieces = tokenizer.convert_ids_to_tokens(ids[:room])
            lists["text"] += [piece.removesuffix(_END).removeprefix(_START) for piece in pieces]
            lists["id"] += ids[:room]
            lists["special"] += [int(not each) for each in own[:room]]
            lists["word"] += _words(pieces, own)
            lists["encoder"] += [encoder.part] * room
        missing = length - len(lists["id"])  # of an encoder that the folder has not
        for key, filler in (("text", ""), ("id", -1), ("special", 1), ("word", -1), ("encoder", "")):
            lists[key] += [filler] * missing
        out[name] = lists
    return out


def _words(pieces: Sequence[str], own: Sequence[bool]) -> list[int]:
    """The number of the word that each piece is of, from 0; -1 for special ones."""
    word, begins, out = -1, True, []
    for piece, is_own in zip(pieces, own, strict=False):
        if not is_own:
            out.append(-1)
            begins = True
            continue
        word += begins or piece.startswith(_START)
        out.append(word)
        begins = piece.endswith(_END)
    return out
