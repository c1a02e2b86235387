"""Classifier guidance: the gradient, the classes by name, and the files that are refused."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.conditions import RowConditions
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedForce
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.errors import CheckpointError, ConfigError, UnknownName
from emnist_diff.frames import FIELDS
from emnist_diff.structuring import structure, unstructure
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler

from emnist_diff_forces_contrib import noisy_classifier
from emnist_diff_forces_contrib.classifier import ClassifierForce
from emnist_diff_forces_contrib.noisy_classifier import NoisyClassifier, load, save, shipped

CLASSES = tuple("CAXB")
ABC = GaussianMixture(shape=(1, 8, 8), classes="ABC", seed=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A classifier of four classes, untrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("classifiers") / "classifier.safetensors"
    network = NoisyClassifier(1, 4, (8, 8, 16, 16), 8)
    for parameter in network.parameters():
        parameter.data.mul_(3)
    save(path, network, CLASSES, {"data": "none"})
    return path


def walked(force, mixture=ABC, steps=3, strength=1.0, base=None):
    denoiser = mixture.denoiser()
    bound = (FlowEuler() if mixture.prediction == "flow" else Ddim()).bind(denoiser.process, denoiser.prediction_type)
    terms = [WeightedForce("classifier", force.bind(denoiser.conditions), lambda at: strength)]
    engine = Engine({"": denoiser}, bound, bound.plan(steps), base or Base("cond"), terms, micro_batch=4)
    batch = Batch((0, 1, 2), (0, 1, 2), (0, 1, 2), (7, 7, 7))
    return list(walk(engine, batch, lambda at: frozenset(FIELDS)))


def log_probability(path, x, noise, names):
    """log p(name | x) in float64."""
    classifier = load(path, noisy_classifier.file_sha256(path), "cpu")
    network = NoisyClassifier(1, 4, (8, 8, 16, 16), 8).double()
    network.load_state_dict({k: t.double() for k, t in classifier.network.state_dict().items()})
    with torch.no_grad():
        logits = network(x.double(), torch.full((len(x),), noise, dtype=torch.float64)).numpy()
    logits = logits - logits.max(1, keepdims=True)
    logits = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return logits[np.arange(len(x)), [CLASSES.index(name) for name in names]]


@pytest.mark.parametrize(("target", "names"), [("own", "ABC"), ("B", "BBB")])
def test_of_the_state_it_is_the_slope_of_the_log_probability(file, target, names):
    """ε − n ∇ log p(y | x_t), by central differences."""
    for frame in walked(ClassifierForce(file=str(file), target=target, of="x", strength=2.0))[:-1]:
        noise, h = frame.at.rates[1], 1e-4
        for place in ((0, 3, 4), (0, 6, 1)):
            moved = torch.zeros(1, 8, 8, dtype=torch.float64)
            moved[place] = h
            ahead, behind = (
                log_probability(file, frame["x"].double() + sign * moved, noise, names) for sign in (1, -1)
            )
            slope = (ahead - behind) / (2 * h)
            got = frame.group("forces")[0][(slice(None), *place)].numpy()
            np.testing.assert_allclose(got, -noise * 2.0 * slope, rtol=2e-3, atol=1e-5)


def test_of_the_image_it_goes_through_the_network(file):
    """The slope of log p(y | x0(x_t)), with the estimate by the analytic model in between."""
    denoiser = ABC.denoiser()
    for frame in walked(ClassifierForce(file=str(file), of="x0"))[1:-1]:
        (m, n), h = frame.at.rates, 1e-3
        moved = torch.zeros(1, 8, 8, dtype=torch.float64)
        moved[0, 3, 4] = h

        def estimate(x, frame=frame, m=m, n=n):
            t = torch.full((3,), frame.at.timestep)
            return (x - n * denoiser.predict(x, t, RowConditions(torch.tensor([0, 1, 2])))) / m

        ahead, behind = (
            log_probability(file, estimate(frame["x"].double() + sign * moved), 0.0, "ABC") for sign in (1, -1)
        )
        got = frame.group("forces")[0][:, 0, 3, 4].numpy()
        np.testing.assert_allclose(got, -n * (ahead - behind) / (2 * h), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("of", ["x", "x0"])
def test_it_makes_the_class_more_probable(file, of):
    ends = []
    for strength in (0.0, 1.0):
        force = ClassifierForce(file=str(file), target="B", of=of, relative=True, strength=0.3)
        end = walked(force, ABC, 8, strength)[-1]
        ends.append(log_probability(file, end.x, 0.0, "BBB").mean())
    assert ends[1] > ends[0] + 0.01


def test_the_hash_is_recorded_and_wanted_again(file, tmp_path):
    force = ClassifierForce(file=str(file))
    data = unstructure(force)
    assert data["sha256"] == noisy_classifier.file_sha256(file)
    assert structure(data, ClassifierForce, "force 'classifier'") == force
    other = tmp_path / "other.safetensors"
    save(other, NoisyClassifier(1, 4, (8, 8, 16, 16), 8), CLASSES, {})
    with pytest.raises(CheckpointError, match=r"has sha256 .*, not"):
        ClassifierForce(file=str(other), sha256=force.sha256)


def test_the_shipped_one_knows_handwriting():
    path = shipped()
    assert path.stat().st_size < 300_000
    classifier = load(path, noisy_classifier.file_sha256(path), "cpu")
    assert len(classifier.classes) == 62
    assert {"0", "A", "z"} <= set(classifier.classes)
    image = torch.full((1, 1, 28, 28), -1.0)  # an upright stroke
    image[0, 0, 4:24, 12:16] = 1.0
    best = classifier.network(image, torch.zeros(1)).topk(3).indices[0].tolist()
    assert {classifier.classes[i] for i in best} <= set("1Iil|")
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    ring = 1.0 - 2.0 * (((x**2 + y**2).sqrt() - 8.0).abs() / 2.5).clamp(0.0, 1.0)[None, None]
    best = classifier.network(ring, torch.zeros(1)).topk(3).indices[0].tolist()
    assert {classifier.classes[i] for i in best} <= set("0OoDQ")


def test_an_engine_that_binds_nothing_is_told_so(file):
    with pytest.raises(ConfigError, match="was not given the model's classes"):
        ClassifierForce(file=str(file)).energy_of(torch.zeros(1, 1, 8, 8), None)


def test_classes_that_it_does_not_know(file):
    with pytest.raises(UnknownName, match="unknown class of the classifier 'D'"):
        walked(ClassifierForce(file=str(file)), attrs.evolve(ABC, classes="ABCD"))
    walked(ClassifierForce(file=str(file), target="B"), attrs.evolve(ABC, classes="ABCD"))
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        walked(ClassifierForce(file=str(file), target="Q"))
    with pytest.raises(ConfigError, match="'null' is no class"):
        ClassifierForce(file=str(file), target="null")


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8), (1, 8, 3)])
def test_states_that_are_no_images(file, shape):
    with pytest.raises(ConfigError, match="are no images with 1 channels"):
        ClassifierForce(file=str(file)).require_shape(shape)


def test_flows(file):
    flow = attrs.evolve(ABC, prediction="flow")
    with pytest.raises(ConfigError, match="use of=x0"):
        walked(ClassifierForce(file=str(file), of="x"), flow)
    assert walked(ClassifierForce(file=str(file), of="x0"), flow)[1].group("forces")[0].any()


def test_files_that_are_none(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(CheckpointError, match=r"cannot read classifier .*No such file"):
        ClassifierForce(file=str(tmp_path / "missing.safetensors"))
    for name, make, message in (
        ("text", lambda p: p.write_text("hello"), "is no classifier"),
        ("foreign", lambda p: save_file({"a": torch.zeros(2)}, p), "is no classifier"),
    ):
        path = tmp_path / f"{name}.safetensors"
        make(path)
        with pytest.raises(CheckpointError, match=message):
            ClassifierForce(file=str(path)).bind(ABC.denoiser().conditions)
    wide = tmp_path / "wide.safetensors"
    save(wide, NoisyClassifier(1, 4, (8, 8, 16, 16), 8), CLASSES[:3], {})
    with pytest.raises(CheckpointError, match="is no classifier of emnist-diff-forces-contrib"):
        ClassifierForce(file=str(wide)).bind(ABC.denoiser().conditions)
    with pytest.raises(CheckpointError, match="is not the one with sha256"):
        load(wide, "0" * 64, "cpu")
