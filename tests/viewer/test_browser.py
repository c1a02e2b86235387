"""The viewer as people use it, in Chromium: opening, scrubbing, playing, comparing, by mouse and by keys."""

from __future__ import annotations

import base64
import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import h5py
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from emnist_diff_plugins.viewer import page as pages
from emnist_diff_plugins.viewer.shown import Shown
from emnist_diff_trajectory.attention import beside

Tab = Any
VIEWS = ("Look", "Compare", "Story", "About")
MOST_BYTES = 350_000
"""Of the page, with all that is in it."""


def slider(tab: Tab) -> Any:
    return tab.get_by_role("slider", name="Step", exact=True)


def frame(tab: Tab, size: int) -> npt.NDArray[np.uint8]:
    """Grey levels of the first frame."""
    canvas = tab.get_by_role("listbox", name="Samples").locator("canvas").first
    canvas.wait_for()
    data = canvas.evaluate("(c, n) => [...c.getContext('2d').getImageData(0, 0, n, n).data]", size)
    return np.array(data, np.uint8).reshape(size, size, 4)[..., 0]


def greys(state: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.clip((np.asarray(state, np.float64) + 1) / 2, 0, 1) * 255


def eventually(tab: Tab, holds: Callable[[], bool]) -> None:
    """Wait until something holds, for at most five seconds."""
    for _ in range(100):
        if holds():
            return
        tab.wait_for_timeout(50)
    assert holds()


def first_line(panel: Any) -> tuple[str, float]:
    """The place that gets most, and how many times an even share it gets."""
    name, *_, times = panel.locator(".readout li").first.inner_text().split("\n")
    return name, float(times.strip("×"))


def shows(tab: Tab, state: npt.NDArray[Any]) -> None:
    """Wait until the first frame shows a state, to a grey level."""
    expected = greys(state[0])
    eventually(tab, lambda: bool(np.abs(frame(tab, len(expected)) - expected).max() <= 1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> str:
    """The address of the page on the disk."""
    path = tmp_path_factory.mktemp("saved") / "page.html"
    path.write_text(pages.page(policy=True), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def other(record: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that differs from the recorded one: without its forces, with other steps."""
    return record(tmp_path_factory.mktemp("other"), forces=[], steps=14)


def test_the_page_is_small_and_opens_with_an_example_that_explains_itself(open_page, saved: str):
    assert pages.BUILT.stat().st_size < MOST_BYTES
    tab = open_page(saved)
    slider(tab).wait_for()
    assert "drop its trajectory.h5 anywhere on this page" in tab.locator("main, header, body").first.inner_text()


def test_a_file_from_the_disk_is_chosen_or_dropped(open_page, saved: str, recorded: Path, tmp_path: Path):
    tab = open_page(saved)
    named = tmp_path / "my run.h5"
    shutil.copy(recorded, named)
    tab.get_by_label("Open trajectory files").set_input_files(named)
    tab.get_by_text("my run.h5").first.wait_for()
    with h5py.File(recorded) as file:
        shows(tab, file["trajectory/x"][0, -1])
        tab.get_by_label("Open trajectory files").set_input_files([])
        data = base64.b64encode(recorded.read_bytes()).decode()
        dropped = tab.evaluate_handle(
            """(text) => { const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const files = new DataTransfer(); files.items.add(new File([bytes], "dropped.h5")); return files; }""",
            data,
        )
        tab.dispatch_event("main", "drop", {"dataTransfer": dropped})
        tab.get_by_text("dropped.h5").first.wait_for()
        shows(tab, file["trajectory/x"][0, -1])


def test_a_page_with_a_run_in_it_opens_by_itself(cli, open_page, chromium, attended: Path, tmp_path: Path):
    path = tmp_path / "page.html"
    assert cli("view", attended.parent, "--save", path, "--embed").code == 0
    tab = open_page(path.as_uri())
    slider(tab).wait_for()
    with h5py.File(attended) as file:
        shows(tab, file["trajectory/x"][0, -1])
    tab.get_by_role("region", name="Attention").get_by_role("application").wait_for()


def test_the_slider_and_the_keys_show_the_file_s_own_states(show, recorded: Path):
    tab = show(recorded)
    with h5py.File(recorded) as file:
        x = file["trajectory/x"][0]
    assert slider(tab).get_attribute("max") == "10"
    shows(tab, x[10])
    for key, column in [("Home", 0), ("ArrowRight", 1), ("PageDown", 2), ("End", 10), ("ArrowLeft", 9)]:
        tab.keyboard.press(key)
        shows(tab, x[column])
        assert slider(tab).input_value() == str(column)
        place = "final state," if column == 10 else f"step {column} of 0 … 9,"
        eventually(tab, lambda place=place: slider(tab).get_attribute("aria-valuetext").startswith(place))
        step = "final" if column == 10 else column
        eventually(tab, lambda step=step: tab.evaluate("location.hash").endswith(f"step={step}"))
    slider(tab).fill("5")
    shows(tab, x[5])
    tab.keyboard.press("Home")
    tab.keyboard.press("]")
    tab.get_by_role("button", name="Play").click()
    tab.get_by_role("button", name="Pause").wait_for()
    tab.get_by_role("button", name="Play").wait_for()
    shows(tab, x[10])


def test_all_can_be_done_with_the_keyboard(show, recorded: Path, other: Path):
    tab = show(recorded, Shown("other.h5", other))
    names = set()
    for _ in range(80):
        tab.keyboard.press("Tab")
        names.add(
            tab.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
    assert {*VIEWS, "Open files…", "Copy link", "Dark mode", "Play", "Step", "Keys"} <= names
    for name in VIEWS:
        tab.get_by_role("button", name=name, exact=True).focus()
        tab.keyboard.press("Enter")
        tab.locator("main section, main article").first.wait_for()
    tab.locator("body").press("?")
    tab.get_by_role("region", name="Keys").wait_for()
    tab.keyboard.press("Escape")
    assert not tab.get_by_role("region", name="Keys").count()


def test_two_runs_are_compared_and_swapped(show, recorded: Path, other: Path):
    tab = show(recorded, Shown("other.h5", other))
    compare = tab.get_by_role("region", name="Compare").first
    compare.wait_for()
    assert tab.get_by_label("Run A").input_value() == "trajectory.h5"
    assert tab.get_by_label("Run B").input_value() == "other.h5"
    text = compare.inner_text()
    assert "attract_class" in tab.locator("main").inner_text(), "settings that differ are said"
    assert len(text) > 200
    tab.keyboard.press("Home")
    tab.keyboard.press("End")
    tab.get_by_label("Run B").select_option("none")
    tab.get_by_role("region", name="Frames").wait_for()


def test_what_a_place_attends_to_is_read_by_pointing_or_by_keys(show, attended: Path):
    tab = show(attrs.evolve(Shown("run.h5", attended), sidecar=Shown("run.attention.h5", beside(attended))))
    with h5py.File(beside(attended)) as file:
        own = [name.decode() for name in file["activations/condition"][:]].index("own")
        maps = file["activations/attention/mid_block.attentions.0.self"][0, :, own, 0]
    panel = tab.get_by_role("region", name="Attention")
    layers = panel.get_by_label("Layer")
    layers.select_option(next(name for name in layers.locator("option").all_inner_texts() if "mid" in name))
    panel.get_by_label("Evaluated for").select_option(label="own (A)")
    stage = panel.get_by_role("application")
    tab.keyboard.press("Home")
    rows, columns = maps.shape[1:3]
    for row, column in [(2, 3), (0, columns - 1)]:
        box = stage.locator("canvas").bounding_box()
        stage.locator("canvas").hover(
            position={"x": box["width"] * (column + 0.5) / columns, "y": box["height"] * (row + 0.5) / rows}
        )
        panel.get_by_text(f"row {row}, column {column} attends to").wait_for()
        shares = maps[0, row, column].astype(np.float64)
        most, to = np.unravel_index(shares.argmax(), shares.shape)
        expected = f"row {most}, column {to}", pytest.approx(shares.max() * shares.size, rel=0.05)
        eventually(tab, lambda expected=expected: first_line(panel) == expected)
    stage.focus()
    tab.keyboard.press("ArrowRight")
    panel.locator(".readout").wait_for()


def test_what_a_panel_shows_is_saved(show, recorded: Path):
    tab = show(recorded)
    names = tab.get_by_role("region", name="Metrics").locator(".card .name")
    eventually(tab, lambda: "latent_l2_norm" in names.all_inner_texts())
    for panel, kinds in [("Frames", {".png"}), ("Metrics", {".svg", ".csv"})]:
        tab.get_by_role("button", name=f"Save {panel}").click()
        for number in range(files := tab.get_by_role("group", name=f"Files of {panel}").get_by_role("button").count()):
            if number:
                tab.get_by_role("button", name=f"Save {panel}").click()
            with tab.expect_download() as waiting:
                tab.get_by_role("group", name=f"Files of {panel}").get_by_role("button").nth(number).click()
            path = Path(waiting.value.path())
            kind = Path(waiting.value.suggested_filename).suffix
            kinds.discard(kind)
            content = path.read_bytes()
            if kind == ".png":
                assert Image.open(path).size[0] >= 16
            if kind == ".csv":
                table = list(csv.DictReader(content.decode().splitlines()))
                assert [int(row["step_index"]) for row in table][:3] == [0, 1, 2]
            if kind == ".svg":
                assert ElementTree.fromstring(content).tag.endswith("svg")
        assert files
        assert not kinds, f"{panel} lacks a file of these kinds"


def test_an_address_shows_a_colleague_the_same(show, open_page, recorded: Path):
    tab = show(recorded)
    slider(tab).fill("4")
    tab.get_by_role("listbox", name="Samples").get_by_role("option").nth(2).click()
    tab.wait_for_timeout(600)  # addresses are written now and then
    again = open_page(tab.url)
    slider(again).wait_for()
    assert slider(again).input_value() == "4"
    assert (
        again.get_by_role("option", selected=True).first.inner_text()
        == tab.get_by_role("option", selected=True).first.inner_text()
    )


def test_dark_mode_follows_the_system_and_the_button_and_is_remembered(show, recorded: Path):
    def paper(tab: Tab) -> float:
        return float(
            np.mean(
                [
                    int(n)
                    for n in re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
                ]
            )
        )

    tab = show(recorded, color_scheme="dark")
    assert paper(tab) < 80
    tab.get_by_role("button", name="Dark mode").click()
    eventually(tab, lambda: paper(tab) > 200)
    tab.reload()
    slider(tab).wait_for()
    assert paper(tab) > 200
