"""The example that trains a classifier, on four dozen drawn digits."""

from __future__ import annotations

import gzip
import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import torch

from emnist_diff_forces_contrib.noisy_classifier import file_sha256, load

SCRIPT = Path(__file__).parents[1] / "examples" / "train_classifier.py"


def write(path, array):
    """An IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def drawn(count, seed):
    """Bars of ten widths, 28 × 28, as EMNIST stores images."""
    labels = np.arange(count) % 10
    images = np.random.default_rng(seed).integers(0, 60, (count, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[4:24, 4 : 6 + 2 * label] += 190
    return images.transpose(0, 2, 1), labels


def test_it_trains_and_saves(tmp_path, monkeypatch, capsys):
    for part, count, seed in (("train", 480, 0), ("test", 40, 1)):
        images, labels = drawn(count, seed)
        write(tmp_path / f"emnist-digits-{part}-images-idx3-ubyte.gz", images)
        write(tmp_path / f"emnist-digits-{part}-labels-idx1-ubyte.gz", labels)
    spec = importlib.util.spec_from_file_location("train_classifier", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path / "classifier.safetensors"
    said = [f"emnist:data={tmp_path},split=digits", str(out), "--epochs", "4", "--batch-size", "24"]
    monkeypatch.setattr(sys, "argv", ["train_classifier.py", *said])
    module.main()
    assert "epoch 4: loss" in capsys.readouterr().out
    classifier = load(out, file_sha256(out), "cpu")
    assert classifier.classes == tuple("0123456789")
    images, labels = drawn(40, 2)
    x = torch.from_numpy(images.transpose(0, 2, 1).copy()).float()[:, None] / 127.5 - 1
    with torch.inference_mode():
        right = classifier.network(x, torch.zeros(40)).argmax(1).numpy() == labels
    assert right.mean() > 0.5
