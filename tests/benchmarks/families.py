"""What do latent models and flows reach from nothing, in how many seconds of one thread?

    python tests/benchmarks/families.py --data DIR [--dataset mnist] [--models conv_ae,lddpm] [--output DIR] [--check]
    python tests/benchmarks/families.py --data DIR --picture docs/images/families.png

It trains two codecs and the models on them, and two models of pixels, of which the diffusion has half the channels, so
that it takes half the time; each in a process of its own with one thread. It draws 1,000 samples of each at its
recommended settings, and has them judged (`emnist-diff judge`). The table shows CPU seconds of training; of codecs the
mean squared error of reconstructed held-out images, and their floor: what the judge says of those reconstructions; of
models what it says of samples. Fréchet distances are in units of that of as many real images. ``--check`` exits with 1
where one is not reached.

--picture draws a row of held-out images, below it for each codec a row of their reconstructions, and for each model a
row of one sample of each class. What was trained is kept in --output and not trained again. ``--quick`` shows that all
of it works, and trains little.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
import torch

from emnist_diff.discovery import installed
from emnist_diff_plugins.containers import codecs
from emnist_diff_plugins.judging.file import chosen
from emnist_diff_plugins.judging.report import finished_images, read_data
from emnist_diff_plugins.judging.scores import score
from emnist_diff_plugins.pictures import save_png, table


@attrs.frozen
class Trial:
    """One training.

    what: arguments of ``emnist-diff train``.  codec: the trial whose latents are learnt, or "".
    recognised, spread: least that must be reached.  frechet: most above the codec's floor, in distances of real images.
    mse: most, of a codec.
    """

    name: str
    what: tuple[str, ...]
    codec: str = ""
    recognised: float = 0.0
    spread: float = 0.0
    frechet: float = 0.0
    mse: float = 0.0


_SMALL = (
    "--network",
    "block_out_channels=[32,48]",
    "--network",
    "attention=[true,true]",
    "--network",
    "attention_head_dim=16",
)
_FAST = ("--batch-size", "32", "--lr", "0.004", "--warmup-steps", "50", "--weight-decay", "0")
_GENTLE = ("--recommend", "guidance_scale=1.5")
_LATENT = ("unet2d", *_SMALL, "--lr", "0.003", "--batch-size", "64", *_GENTLE)
_PIXELS = ("--network", "block_out_channels=[16,32,64]", "--network", "attention=[false,false,true]", "--lr", "0.002")
_FEW_PIXELS = ("--network", "block_out_channels=[8,16,32]", "--batch-size", "64", "--lr", "0.004")
TRIALS = (
    Trial("conv_ae", ("conv_ae", "--epochs", "2", "--lr", "0.002"), mse=0.012),
    Trial("vae", ("vae", "--network", "widths=[8,16,32]", "--network", "groups=8", "--epochs", "1", *_FAST), mse=0.007),
    Trial("lddpm", ("film", "--epochs", "4", "--lr", "0.002"), "conv_ae", 0.97, 0.80, 7.2),
    Trial("ldm-concat", (*_LATENT, "--network", "conditioning=concat", "--epochs", "3"), "vae", 0.97, 0.78, 3.6),
    Trial("ldm-cross", (*_LATENT, "--network", "conditioning=cross", "--epochs", "3"), "vae", 0.97, 0.78, 3.6),
    Trial("latent-rf", (*_LATENT, "--objective", "flow", "--epochs", "3"), "vae", 0.97, 0.78, 3.6),
    Trial("rf", ("unet2d", *_PIXELS, "--objective", "flow", "--epochs", "1"), "", 0.96, 0.85, 8.6),
    Trial("ddpm", ("unet2d", *_FEW_PIXELS, "--epochs", "1"), "", 0.96, 0.85, 8.6),
)
_QUICK = ("--epochs", "1", "--batch-size", "512")


def called(*arguments: str) -> tuple[str, float]:
    """What a command prints, and the CPU seconds that it took. Exits where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "emnist_diff", *arguments], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"emnist-diff {' '.join(arguments)}:\n{done.stderr[-2000:]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(trial: Trial, asked: argparse.Namespace) -> float:
    """Train, unless that was done before. Returns the CPU seconds that it took."""
    folder = asked.output / trial.name
    figures = folder / "cpu_seconds.json"
    if not figures.is_file():
        codec = ("--codec", str(asked.output / trial.codec)) if trial.codec else ()
        data = ("--dataset", asked.dataset, "--data", str(asked.data), "--threads", "1", "--no-tensorboard")
        more = ("--output", str(folder), "--sample-every", "0", "--half", "--resume", "--no-progress")
        _, seconds = called("train", *trial.what, *codec, *data, *more, *(_QUICK if asked.quick else ()))
        figures.write_text(json.dumps(seconds))
    return float(json.loads(figures.read_text()))


def floor(trial: Trial, asked: argparse.Namespace) -> tuple[float, float, float]:
    """Of a codec: mean squared error of 1,000 held-out images, and what the judge says of their reconstructions."""
    registry = installed()
    codec, _ = codecs.read(registry, asked.output / trial.name, "cpu")
    images = read_data(registry, asked.dataset, str(asked.data), "test")
    some = np.random.default_rng(0).permutation(len(images.images))[: asked.samples]
    pixels = torch.from_numpy(images.images[some]).float() / 255.0
    again = codec.decode(codec.encode(pixels))
    names = [images.classes[n] for n in images.labels[some]]
    judge = chosen(asked.judge, names, pixels.shape[1:])
    result = score(judge, (again * 255).round().to(torch.uint8).numpy(), names)
    return float((again - pixels).square().mean()), result.recognised, float(result.frechet or 0.0)


def real(asked: argparse.Namespace) -> float:
    """The distance of as many held-out images: all others are in units of it, for a judge's features have no unit."""
    images = read_data(installed(), asked.dataset, str(asked.data), "test")
    some = np.random.default_rng(1).permutation(len(images.images))[: asked.samples]
    names = [images.classes[n] for n in images.labels[some]]
    return float(score(chosen(asked.judge, names, images.images.shape[1:]), images.images[some], names).frechet or 1.0)


def of_each_class(images: npt.NDArray[np.uint8], names: list[str]) -> list[npt.NDArray[np.uint8]]:
    """The first image of each class, (H, W) or (H, W, C), in the order of their names."""
    return [np.moveaxis(images[names.index(name)], 0, -1).squeeze() for name in sorted(set(names))]


def picture(wanted: list[Trial], asked: argparse.Namespace) -> None:
    """One row of held-out images, and one of each trial: a codec's reconstructions of them, a model's samples."""
    registry = installed()
    data = read_data(registry, asked.dataset, str(asked.data), "test")
    names = [data.classes[label] for label in data.labels]
    rows = of_each_class(data.images, names)
    columns = len(rows)
    held_out = torch.from_numpy(np.stack(rows))[:, None].float() / 255.0
    for trial in wanted:
        if trial.mse:
            codec, _ = codecs.read(registry, asked.output / trial.name, "cpu")
            again = (codec.decode(codec.encode(held_out)) * 255).round().to(torch.uint8).numpy()
            rows += list(again[:, 0])
        else:
            (file,) = (asked.output / trial.name / "samples").glob("*/trajectory.h5")
            rows += of_each_class(*finished_images(file))
    save_png(table(rows, columns), asked.picture, scale=2)


def judged(trial: Trial, asked: argparse.Namespace) -> tuple[float, float, float]:
    """Recognised, Fréchet distance and spread of 1,000 samples."""
    folder = asked.output / trial.name / "samples"
    checkpoint = str(asked.output / trial.name)
    run = ("--checkpoint", checkpoint, "--character", "all", "--total-videos", str(asked.samples), "--no-video")
    called("run", *run, "--output", str(folder), "--sink", "hdf5:fields=[]", "--overwrite", "-q")
    (file,) = folder.glob("*/trajectory.h5")
    told = ("--judge", asked.judge) if asked.judge else ()
    (result,) = json.loads(called("judge", str(file), *told, "--json")[0])
    return result["recognised"], result["frechet"], result["spread"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--models", default=",".join(trial.name for trial in TRIALS))
    parser.add_argument("--output", type=Path, default=Path("families"))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--judge")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    wanted = [trial for trial in TRIALS if trial.name in asked.models.split(",")]
    floors: dict[str, float] = {}
    unit = real(asked)
    missed: list[str] = []
    print(f"{'model':<12} {'CPU s':>6} {'mse':>7} {'recognised':>10} {'Fréchet':>8} {'spread':>7}", flush=True)
    for trial in wanted:
        seconds = trained(trial, asked)
        if trial.mse:
            error, recognised, distance = floor(trial, asked)
            floors[trial.name] = distance / unit
            line = f"{error:7.4f} {recognised:10.3f} {floors[trial.name]:8.2f} {'':>7}"
            good = error <= trial.mse
        else:
            recognised, distance, spread = judged(trial, asked)
            line = f"{'':>7} {recognised:10.3f} {distance / unit:8.2f} {spread:7.2f}"
            most = trial.frechet + floors.get(trial.codec, 0.0)
            good = recognised >= trial.recognised and spread >= trial.spread and distance / unit <= most
        print(f"{trial.name:<12} {seconds:6.0f} {line}" + ("" if good else "  not reached"), flush=True)
        missed += [] if good else [trial.name]
    if asked.picture:
        picture(wanted, asked)
    if asked.check and missed:
        sys.exit(f"not reached: {', '.join(missed)}")


if __name__ == "__main__":
    main()
