"""Rules in place of the base: the same on every base, an exact ledger, and other forces beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emnist_diff.errors import UnknownName

RULES = {
    "interval": {"low": 0.3, "high": 3},
    "dynamic_cfg": {"curve": "sine"},
    "cfg_pp": {},
    "cfg_zero_star": {},
    "adaptive_projected": {"threshold": 2},
    "frequency_decoupled": {},
    "regional": {"targets": ["C"], "masks": ["left"], "feather": 0.1},
}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_makes_the_same_of_every_base(walked, name, prediction):
    def run(**base):
        return walked(mixture={"prediction": prediction}, forces=[{"name": name, **RULES[name]}], **base)

    runs = [run(base="cond"), run(base="uncond"), run(base="cfg", guidance_scale=7)]
    assert np.abs(runs[0].stacked("base") - runs[1].stacked("base")).max() > 1e-3
    for other in runs[1:]:
        np.testing.assert_allclose(other.x, runs[0].x, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", [*RULES, "rescale"])
def test_the_ledger_is_exact_and_no_sample_sees_another(walked, name):
    """Base and contributions are the prediction, bit for bit; a sample alone is a sample in company."""
    said = {"steps": 4, "forces": [{"name": "attract_class", "target": "B"}, {"name": name, **RULES.get(name, {})}]}
    together = walked(character="A,B,C", total_videos=3, micro_batch=6, **said)
    for frame in together.frames:
        assert torch.equal(frame["base"] + frame.group("forces")[0] + frame.group("forces")[1], frame["prediction"])
    alone = walked(character="A", total_videos=1, micro_batch=6, **said)
    assert torch.equal(alone.x[0], together.x[0])


def test_other_forces_add_to_a_rule_as_to_a_base(walked):
    pull = {"name": "attract_class", "target": "B", "strength": 0.5}
    rule = {"name": "dynamic_cfg", "curve": "constant", "scale": 2}
    plain = walked(guidance_scale=2, forces=[pull])
    for forces in ([pull, rule], [rule, pull]):
        np.testing.assert_allclose(walked(base="cond", forces=forces).x, plain.x, rtol=0, atol=1e-4)


def test_weights_mix_rules_with_the_base_and_with_each_other(walked):
    def constant(scale, weight):
        return {"name": "dynamic_cfg", "curve": "constant", "scale": scale, "weight": weight}

    plain = walked(guidance_scale=2.5)
    for forces in ([constant(4, 0.5)], [constant(2, 0.75), constant(4, 0.25)]):
        mixed = walked(base="cond", forces=forces)
        np.testing.assert_allclose(mixed.x, plain.x, rtol=0, atol=1e-4)


def test_a_target_replaces_the_samples_own_class(walked):
    guided = walked(base="uncond", forces=[{"name": "interval", "target": "B", "low": 0, "high": 1e9, "scale": 2}])
    plain = walked(base="uncond", forces=[{"name": "attract_class", "target": "B", "strength": 2}])
    np.testing.assert_allclose(guided.x, plain.x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*RULES, "rescale"])
def test_a_class_that_is_not_there_is_refused_before_any_work(assembled, name):
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        assembled(forces=[{"name": name, **RULES.get(name, {}), "target": "Q"}])
