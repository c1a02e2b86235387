"""What cannot be met is one line, said before the model is loaded; what goes wrong on the way names its force."""

from __future__ import annotations

import math

import pytest
import torch

from emnist_diff import ForceConfig, InferenceConfig
from emnist_diff.assembly.assemble import assemble, report_on
from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, RunFailed, UnknownName
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.spaces import ClassSpace


@pytest.fixture(scope="module")
def unloadable(tmp_path_factory):
    """A checkpoint with a good header, of a family that cannot load its weights. Lower case is merged into upper."""
    path = tmp_path_factory.mktemp("checkpoints") / "hollow.safetensors"
    header = checkpoint.CheckpointHeader(
        family="unet2d", network={}, classes=("A", "B", "C", "K"), null_index=4, merged={"b": "B", "c": "C", "k": "K"}
    )
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    with pytest.raises(CheckpointError):
        assemble(installed(), configure(installed(), {"checkpoint": str(path)})[0])
    return path


def test_a_good_command_reaches_the_weights(cli, unloadable):
    """Else the refusals below would prove nothing."""
    finished = cli("run", "--checkpoint", unloadable, "--force", "attract_class:target=B", "--dry-run")
    assert finished.code == 4


BLEND = '{"a": "A", "b": "B"'
REFUSED = {
    "unknown force": ("--force", "atract_class", "unknown force 'atract_class' — did you mean 'attract_class'"),
    "unknown drift": ("--drift", "drift_defualt", "unknown drift 'defualt' — did you mean 'default'"),
    "unknown preset": ("--preset", "blnd", "unknown preset 'blnd' — did you mean 'blend'"),
    "unknown field of a force": ("--force", "attract_class:targt=B", "force 'attract_class': 'targt' — did you mean"),
    "unknown field of a drift": ("--drift", "clamp:min=1", "drift 'clamp': 'min' — did you mean 'min_val'"),
    "unknown field of a preset": (
        "--preset",
        "blend",
        "--preset-args",
        BLEND + ', "alhpa": 1}',
        "did you mean 'alpha'",
    ),
    "missing field": ("--force", "blend_two:target=A", "force 'blend_two' needs secondary (second class)"),
    "unknown class": ("--force", "attract_class:target=Q", "unknown class 'Q'"),
    "unknown class of one weight": ("--force", 'weighted_multi:weights={"A":1,"Q":1}', "unknown class 'Q'"),
    "unknown class of weight zero": ("--force", 'weighted_multi:weights={"A":1,"Q":0}', "unknown class 'Q'"),
    "unknown class of a silent force": ("--force", "attract_class:target=Q,weight=0", "unknown class 'Q'"),
    "unknown class beyond the run": (
        "--force",
        'cycle_classes:class_list=["A","Q"],period=1000',
        "unknown class 'Q'",
    ),
    "unknown class in a table": ("--force", 'user_schedule:schedule=[[0,{"A":1}],[1,{"Q":0}]]', "unknown class 'Q'"),
    "unknown class of a function": ("--force", 'user_custom:function=operator:sub,reads=["Q"],weight=0', "class 'Q'"),
    "unknown class of a sample": ("--force", 'attract_class:target=["A","Q"]', "--total-videos", "2", "class 'Q'"),
    "too few classes": ("--force", 'attract_class:target=["A","B"]', "--total-videos", "3", "too few for sample 2"),
    "unknown character": ("--character", "A,Q", "unknown class 'Q'"),
    "wrong type": ("--force", "ramp_attract:target=A,strength=much", "strength: expected a number, got 'much'"),
    "no number": (
        "--force",
        "attract_class:strength=NaN",
        "strength: expected a number, or a schedule as a table or list, got 'NaN'",
    ),
    "infinite": ("--force", "ramp_attract:strength=Infinity", "strength: expected a number, got 'Infinity'"),
    "text for a list": ("--force", "cycle_classes:class_list=AB", "class_list: expected a list, got 'AB'"),
    "unknown schedule": ("--force", 'attract_class:strength={"kind":"rmap"}', "did you mean 'ramp'"),
    "unknown key of a schedule": ("--force", 'attract_class:weight={"kind":"ramp","ned":1}', "did you mean 'end'"),
    "open window": (
        "--force",
        'attract_class:weight={"kind":"window","from":500,"by":"timestep"}',
        "by = 'timestep' needs from and to",
    ),
    "schedule function": ("--force", 'attract_class:weight={"kind":"function","name":"no.such:f"}', "No module named"),
    "schedule value": (
        "--force",
        'attract_class:weight={"kind":"function","name":"builtins:repr"}',
        "the schedule 'builtins:repr' returned",
    ),
    "custom function": ("--force", "user_custom:function=math:no", "has no attribute 'no'"),
    "alpha and weights": ("--force", "blend_two:a=A,b=B,alpha=1,w_a=1", "use alpha, or w_a and w_b, not both"),
    "cycles and frequency": ("--force", "oscillate_two:a=A,b=B,cycles=1,frequency=1", "use cycles or frequency"),
    "weights without classes": ("--force", "weighted_multi:weights=[1,2]", "as many targets"),
    "twice said": ("--force", "attract_class:target=A,target_class=B", "'target_class' repeats"),
    "fraction that is none": ("--force", 'user_schedule:schedule=[[0,{"A":1}],[500,{"B":1}]]', "use by = timestep"),
    "decay": ("--drift", "decay_only:decay=1.5", "decay = 1.5 is not within 0 … 1"),
    "negative noise": ("--drift", "default:noise_scale=-1", "noise_scale = -1 must be at least 0"),
    "clamp": ("--drift", "clamp:min_val=2", "min_val = 2 is more than max_val = 1"),
    "normalize": ("--drift", "normalize:target=2,target_norm=3", "use target, or target_norm, not both"),
    "clipped drift": ("--drift", "default:clip_abs=1", "drift 'default' cannot be clipped"),
    "bound": ("--clip-norm", "0", "clip_norm"),
    "merged twins": ("--force", "subtract_two:target=k,secondary=K", "'k' and 'K' are one class in this checkpoint"),
    "merged twins of a sample": (
        *("--force", 'subtract_two:target=["A","k"],secondary=K', "--total-videos", "2"),
        "'k' and 'K' are one class",
    ),
    "merged twins of a preset": (
        *("--preset", "subtract", "--preset-args", '{"pos_class": "c", "neg_class": "C", "w_pos": 3.0}'),
        "'c' and 'C' are one class in this checkpoint",
    ),
    "two ways to say forces": (
        "--force",
        "none",
        "--force-stack",
        "[]",
        "--force and --force-stack exclude each other",
    ),
    "two ways to say how many": ("--total-videos", "3", "--per-character", "1", "exclude each other"),
    "arguments of no preset": ("--preset-args", "{}", "--preset-args needs one --preset"),
    "arguments of two presets": ("--preset", "chaos", "--preset", "null_wander", "--preset-args", "{}", "got 2"),
    "arguments that are no table": ("--preset", "chaos", "--preset-args", "[1]", "expected a table of settings"),
    "bad JSON": ("--force-stack", "[{", "--force-stack: not valid JSON"),
    "no list": ("--force-stack", '{"name": "none"}', "forces: expected a list"),
    "no name": ("--force-stack", '[{"weight": 1}]', "a component needs a name"),
    "setting said twice": ("--force-stack", '[{"name": "none", "cfg": {"a": 1}, "a": 2}]', "'a' is set twice"),
    "no such file": ("--force-stack", "@nowhere.json", "cannot read 'nowhere.json'"),
    "no such plugin file": ("--plugin-file", "nowhere.py", "plugin file 'nowhere.py' does not exist"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused_before_the_model_is_loaded(cli, unloadable, case):
    *arguments, message = case
    model = () if "--checkpoint" in arguments else ("--checkpoint", unloadable)
    finished = cli("run", *model, *arguments, "--dry-run")
    assert finished.code in (2, 3)
    assert message in finished.error


def test_refused_by_the_python_interface_too(unloadable):
    for force, message in (
        (ForceConfig(force_stack=["force_atract"]), "did you mean .*'attract_class'"),
        (ForceConfig(preset="blnd"), "did you mean 'blend'"),
        (ForceConfig(preset="blend", preset_args={"a": "A"}), "needs b"),
        (ForceConfig(force_stack=[{"name": "drift_noise", "target": "A"}]), "'target'"),
    ):
        config = InferenceConfig(checkpoint_path=unloadable, force=force)
        with pytest.raises(ConfigError, match=message):
            assemble(installed(), config.to_run_config())


MERGED = ClassSpace(tuple("ABCD"), 4, {"b": "B", "c": "C"})


def test_merged_letters_are_their_class_and_said(zoo, run, log):
    stack = [{"name": "attract_class", "target": "b"}, {"name": "weighted_multi", "weights": {"c": 1, "A": 0.5}}]
    laid = zoo.layout(run(stack, character="b, A", total_videos=2, steps=2), MERGED)
    assert tuple(laid.labels) == (1, 0)
    assert laid.plan.rows == 2 * (4 + 4)  # null, A, B and C for each, b being B
    report_on(installed(), laid)
    events = [entry for entry in log if entry["event"] == "class.merged"]
    assert [(entry["requested"], entry["used"]) for entry in events] == [("b,c", "B,C")]
    report_on(installed(), zoo.layout(run([{"name": "attract_class", "target": "B"}]), MERGED))
    assert len([entry for entry in log if entry["event"] == "class.merged"]) == 1


@pytest.mark.parametrize(
    ("pair", "twins"),
    [(("b", "B"), True), (("B", "b"), True), (("b", "c"), False), (("B", "B"), False), (("own", "B"), False)],
)
def test_only_twins_are_refused(zoo, run, pair, twins):
    asked = run([{"name": "subtract_two", "target": pair[0], "secondary": pair[1]}], total_videos=1)
    if twins:
        with pytest.raises(ConfigError, match="are one class in this checkpoint"):
            zoo.layout(asked, MERGED)
    else:
        zoo.layout(asked, MERGED)
    zoo.layout(run([{"name": "repel_class", "target": "b"}, {"name": "attract_class", "target": "B"}]), MERGED)


def test_a_model_without_a_null_class_has_no_directions(zoo, run):
    space = ClassSpace(tuple("ABCD"), None)
    zoo.layout(run(base="cond"), space)
    for asked in (run(base="cfg"), run([{"name": "attract_class"}], base="cond")):
        with pytest.raises(ConfigError, match="has no null class — use base 'cond'"):
            zoo.layout(asked, space)


def test_guidance_that_nothing_uses_is_said(log):
    mixture = {"denoiser": {"name": "gaussian-mixture"}}
    for said, warned in (
        ({"base": "uncond", "guidance_scale": 4}, True),
        ({"preset": "null_wander", "guidance_scale": 4}, True),
        ({"preset": "null_wander"}, False),
        ({"guidance_scale": 4}, False),
    ):
        log.clear()
        configure(installed(), {**mixture, **said})
        assert [entry["event"] for entry in log if entry["log_level"] == "warning"] == ["guidance.unused"] * warned


# ------------------------------------------------------------------ on the way

HUGE = {"name": "attract_class", "target": "B", "weight": 1e39}


def nowhere(predictions, step):
    return torch.full_like(step.x, math.nan if step.at.index else 0.0)


def infinite(predictions, step):
    return torch.full_like(step.x, math.inf)


def lost(at):
    return 1 / (at.steps - 1 - at.index)


@pytest.mark.parametrize(
    ("stacked", "message"),
    [
        (HUGE, r"force 'attract_class' returned non-finite values \(step 0, sample 0, 1, 2\)"),
        ({**HUGE, "clip_abs": 1.0}, "force 'attract_class' returned non-finite values"),
        ({**HUGE, "clip_norm": 1.0}, "force 'attract_class' returned non-finite values"),
        (
            {"name": "user_custom", "function": nowhere, "reads": []},
            r"'user_custom' .*\(step 1, sample 0, 1, 2\)",
        ),
        ({"name": "user_custom", "function": infinite, "clip_abs": 1.0}, "force 'user_custom' returned non-finite"),
        ({"name": "attract_class", "weight": lost}, r"force 'attract_class' raised ZeroDivisionError.*\(step 8\)"),
        ({"name": "attract_class", "strength": lost}, r"force 'attract_class' raised ZeroDivisionError.*\(step 8\)"),
    ],
)
def test_what_is_not_finite_stops_the_run_with_the_forces_name(zoo, run, stacked, message):
    with pytest.raises(RunFailed, match=message):
        zoo.walk(run([{"name": "none"}, stacked], clip_abs=5.0))


@pytest.mark.parametrize(
    ("moved", "error", "message"),
    [
        ({"name": "clamp", "weight": lost}, RunFailed, r"drift 'clamp' raised ZeroDivisionError.*\(step 8\)"),
        ({"name": "clamp", "weight": 1e39}, RunFailed, "drift 'clamp' returned non-finite values"),
        ({"name": "default", "noise_scale": 1e39}, RunFailed, "drift 'default' returned non-finite values"),
        ({"name": "decay_only", "decay": lambda at: 2.0}, ConfigError, "decay = 2 at step 0 is not within 0 … 1"),
        ({"name": "clamp", "weight": lambda at: math.nan}, ConfigError, "returned nan at step 0, not a finite number"),
        ({"name": "user_custom", "function": lambda x, step: x[:1]}, RunFailed, "drift 'user_custom' returned shape"),
    ],
)
def test_drifts_too(zoo, run, moved, error, message):
    with pytest.raises(error, match=message):
        zoo.walk(run(drifts=[moved]))


def test_a_schedule_of_classes_that_is_none(zoo, run):
    for function, error, message in (
        (lambda at: 3, ConfigError, "the function returned 3 at step 0, not class → weight"),
        (lambda at: {"Q": 1}, UnknownName, "unknown class 'Q'"),
    ):
        with pytest.raises(error, match=message):
            zoo.walk(run([{"name": "user_schedule", "schedule": function}]))


def ten_arguments(model_output, x_t, t, t_index, total_steps, model, ckpt_info, class_idx, force_cfg, state, **kwargs):
    return x_t


@pytest.mark.parametrize(("kind", "wanted"), [(ForceSpec, "predictions, step"), (DriftSpec, "x, step")])
def test_a_function_of_another_signature_is_shown_the_one_to_write(kind, wanted):
    said = rf"takes \(model_output, x_t, .*\) — write it as def ten_arguments\({wanted}\): .*step\.at\.timestep"
    with pytest.raises(ConfigError, match=said):
        make(installed(), kind, ComponentConfig("user_custom", settings={"fn": ten_arguments}))
    for good in (lambda a, b: None, lambda a, b, c=1: None, lambda *all: None):
        assert make(installed(), kind, ComponentConfig("user_custom", settings={"fn": good})).object.function is good
