"""Several workers: the weights of one, and nobody left waiting when another stops or fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch

from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.training import state
from emnist_diff_plugins.training.config import resolve, to_dict
from emnist_diff_plugins.training.trainer import train

WORKER = """
import json, os, signal, sys
from pathlib import Path

import torch

from emnist_diff_plugins.containers import checkpoint
from emnist_diff.errors import EmnistDiffError, OutputError
from emnist_diff_plugins.training import record, trainer
from emnist_diff_plugins.training.config import resolve
from emnist_diff_plugins.training.learner import Learner

rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
trainer._CHECK_EVERY = 1
steps = []


def go(name, resume=False):
    try:
        config = resolve(json.loads((folder / f"{name}.json").read_text()))
        result = trainer.train(config, resume=resume, on_progress=lambda step, total, loss: steps.append(step))
        return [result.finished, result.rank]
    except EmnistDiffError as error:
        return [type(error).__name__, str(error)]


def patched(owner, name, value, call):
    before = getattr(owner, name)
    setattr(owner, name, value(before))
    try:
        return call()
    finally:
        setattr(owner, name, before)


def one_is_told(advance):
    def told(self, draw, seed, rate, step):
        if rank == 1 and step == 4:
            os.kill(os.getpid(), signal.SIGUSR1)
        return advance(self, draw, seed, rate, step)
    return told


def one_is_nan(advance):
    def spoilt(self, draw, seed, rate, step):
        loss, norm = advance(self, draw, seed, rate, step)
        return (loss * float("nan") if rank == 1 else loss), norm
    return spoilt


def disk_is_full(save):
    def full(*arguments):
        raise OutputError("cannot write it")
    return full


out = {
    "told": patched(Learner, "advance", one_is_told, lambda: go("both")),
    "resumed": go("both", resume=True),
    "steps": steps[:],
    "apart": go(f"apart{rank}", resume=True),
    "named": go(f"named{rank}"),
    "nan": patched(Learner, "advance", one_is_nan, lambda: go("nan")),
    "full": patched(checkpoint, "save", disk_is_full, lambda: go("full")),
}
print(json.dumps(out))
"""


LATENTS = """
import sys

from emnist_diff import main
from emnist_diff_plugins.training import trainer

trainer._CHECK_EVERY = 1
folder, data = sys.argv[1:]
options = ["--data", data, "--split", "digits", "--epochs", "2", "--batch-size", "16", "--sample-every", "0", "--quiet",
           "--device", "cpu", "--no-tensorboard"]
codec = ["conv_ae", "--network", "widths=[8]", "--network", "hidden=16", "--network", "latent=6"]
latent = ["film", "--codec", f"{folder}/codec", "--network", "hidden=16", "--network", "blocks=1"]


def trained(what, output, *more):
    sys.argv = ["emnist-diff", "train", *what, *options, "--output", f"{folder}/{output}", *more]
    try:
        main()
    except SystemExit as stopped:
        return stopped.code


codes = [
    trained(codec, "codec"),
    trained(latent, "latent", "--max-minutes", "1e-9"),
    trained(latent, "latent", "--max-minutes", "60", "--resume"),
]
sys.exit(0 if codes == [0, 0, 0] else f"exit codes {codes}")
"""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def both(config, tmp_path: Path):
    """What two workers report."""
    pytest.importorskip("accelerate")
    for name, output in (("both", "both"), ("nan", "nan"), ("full", "full"), ("apart0", "both"), ("apart1", "none")):
        settings = attrs.evolve(config(output), max_minutes=60.0)
        (tmp_path / f"{name}.json").write_text(json.dumps(to_dict(settings)))
    for rank in range(2):  # each has read another time
        settings = config(f"experiment{rank}", experiment="both", epochs=1)
        (tmp_path / f"named{rank}.json").write_text(json.dumps(to_dict(settings)))
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": free_port(), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}  # fmt: skip
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            env={**common, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        outputs = [w.communicate(timeout=120) for w in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [w.returncode for w in workers] == [0, 0], [error for _, error in outputs]
    return [json.loads(text.splitlines()[-1]) for text, _ in outputs]


def test_two_workers_do_as_one(config, both, tmp_path):
    """Gradients are averaged, so the weights agree up to the order of a sum."""
    first, second = both
    # a signal to one stops both, within the same step, and says so in both
    assert first["told"] == second["told"]
    assert first["told"][0] == "Interrupted"
    assert first["told"][1].startswith("interrupted: 1.25 of 2 epochs are in ")
    # both go on; the first alone speaks
    assert (first["resumed"], second["resumed"]) == ([True, 0], [True, 1])
    assert (first["steps"][-1], second["steps"]) == (8, [])
    alone = train(config("alone"))
    theirs = checkpoint.load(tmp_path / "both" / "unet2d_epoch002.safetensors")[1]
    for name, tensor in checkpoint.load(alone.checkpoint)[1].items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-5)
    ours, together = (state.read_facts(state.path_in(tmp_path / n)).rows for n in ("alone", "both"))
    for one, other in zip(ours, together, strict=True):
        for figure in ("loss_mean", "loss_std", "loss_max", "grad_norm"):
            assert other[figure] == pytest.approx(one[figure], rel=1e-3)
    # a directory that only one of them sees
    assert [report["apart"][0] for report in both] == ["OutputError"] * 2
    assert "some workers see a training in" in first["apart"][1]
    # the directory of an experiment is the first one's
    assert (first["named"], second["named"]) == ([True, 0], [True, 1])
    assert (tmp_path / "experiment0" / "final_samples" / "samples.png").exists()
    assert not (tmp_path / "experiment1").exists()
    # what goes wrong for one ends both
    assert first["nan"] == second["nan"]
    assert first["nan"][0] == "RunFailed"
    assert first["nan"][1].startswith("the loss is nan at step 1 ")
    assert first["full"] == ["OutputError", "cannot write it"]
    assert second["full"] == ["RunFailed", "the first worker failed — its message says why"]


def test_accelerate_launch_trains_a_codec_and_a_model_of_its_latents(data, tmp_path):
    """One checkpoint an epoch; the one of the latents, which was stopped and resumed, has the weights of one worker."""
    pytest.importorskip("accelerate")
    script = tmp_path / "latents.py"
    script.write_text(LATENTS)
    launch = (
        "--multi_gpu",  # which is torchrun, on CPUs too; without it CPUs get one process
        "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *launch, "--main_process_port", free_port(), str(script),
         str(tmp_path), str(data)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained 2 epochs") == 2  # the first worker alone speaks
    assert done.stdout.count("stopped after step") == 1
    for name, family in (("codec", "conv_ae"), ("latent", "film")):
        files = sorted(path.name for path in (tmp_path / name).glob("*.safetensors"))
        assert files == [f"{family}_epoch001.safetensors", f"{family}_epoch002.safetensors"]
        rows = state.read_facts(state.path_in(tmp_path / name)).rows
        assert len(rows) == 2
        assert all(0 < row["loss_mean"] < 10 for row in rows)
    codec, theirs = (checkpoint.load(checkpoint.discover(tmp_path / name)) for name in ("codec", "latent"))
    assert theirs[0].codec == codec[0].codec
    alone = resolve(
        {"family": {"name": "film", "settings": {"hidden": 16, "blocks": 1}}, "codec": str(tmp_path / "codec"),
         "dataset": {"name": "emnist", "data": str(data), "split": "digits"}, "output": str(tmp_path / "alone"),
         "epochs": 2, "batch_size": 16, "sample_every": 0, "device": "cpu", "tensorboard": False}
    )  # fmt: skip
    for name, tensor in checkpoint.load(train(alone).checkpoint)[1].items():
        torch.testing.assert_close(theirs[1][name], tensor, rtol=1e-3, atol=1e-5)
