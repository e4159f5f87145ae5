"""The widgets in a real browser: `lesson lab`, opened in a headless Chromium, used by mouse and keyboard."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lessonlib.cli.lab import START

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright, of the extra `dev`, is not installed"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: `apt-get install chromium`"
)

PATIENCE = 120_000  # milliseconds; a busy machine takes long to start a server, a browser and a kernel
CELLS = (
    """\
import json, os
import ipywidgets, numpy as np
from PIL import Image
from lessonlib.widgets import guess, live, quiz, scribble
print("kernel", os.getpid())""",
    'quiz("q", "Which is <faster>?", ["turbo", "LCM"], 1, "It takes `fewer` steps.")',
    'guess("g", "How many steps?", 0, 12, "steps")',
    """\
def tell(picture):
    rows, columns = np.nonzero(np.asarray(picture)[..., 0] > 127)
    box = [int(n) for n in (columns.min(), rows.min(), columns.max(), rows.max())] if len(rows) else []
    told.value = json.dumps({"size": picture.size, "box": box})

sketch, told = scribble((128, 96)), ipywidgets.Label("nothing yet")
sketch.on_change(tell)
told.add_class("told")
display(sketch, told)""",
    """\
def make(prompt, level=10):
    if prompt == "impossible":
        raise ValueError("no such picture")
    return Image.new("RGB", (128, 96), (level, 0, 0))

live(make, prompt="a cat", level=(0, 255))""",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `lesson lab` serves a notebook of all widgets, to a reader who has never been here."""
    course = tmp_path_factory.mktemp("course")
    (course / START).parent.mkdir()
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        new_notebook(cells=[new_code_cell(cell) for cell in CELLS], metadata=metadata), course / START
    )
    folders = ("LESSON_STATE", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    folders += ("JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    environment = {**os.environ, **{name: str(course / ".state" / name) for name in folders}}
    command = [sys.executable, "-m", "lessonlib.cli", "lab", "--no-browser"]
    with (
        (course / "errors.txt").open("w") as errors,
        subprocess.Popen(
            command, cwd=course, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as server,
    ):
        assert server.stdout is not None
        found = next((line.split()[1] for line in server.stdout if line.startswith("JupyterLab: ")), None)
        assert found, (course / "errors.txt").read_text()
        yield found
        server.terminate()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator:
    """The notebook in the browser, all its cells run."""
    with sync_api.sync_playwright() as playwright:
        # A container's root can have no sandbox of Chromium's; its shared memory is often small.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 1200, "height": 1600}, has_touch=True)
        page.set_default_timeout(PATIENCE)
        sync_api.expect.set_options(timeout=PATIENCE)
        page.goto(address)
        page.get_by_text(re.compile(r"\| Idle$")).wait_for()  # run before, JupyterLab would ask for a kernel
        menu(page, "Run", "Run All Cells")
        sync_api.expect(page.locator(".lesson-screen img")).to_be_visible()
        yield page
        browser.close()


def menu(page, name: str, entry: str) -> None:
    page.get_by_role("menuitem", name=name, exact=True).click()
    page.get_by_role("menuitem", name=re.compile(f"^{re.escape(entry)}")).click()


def wait_for_red(page, level: int) -> None:
    """Until the picture that `live` shows is that red."""
    page.wait_for_function(
        """level => {
        const img = document.querySelector(".lesson-screen img");
        const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
        if (!img.complete || !img.naturalWidth) return false;
        context.drawImage(img, 0, 0, 1, 1);
        return context.getImageData(0, 0, 1, 1).data[0] === level;
    }""",
        arg=level,
    )


def told(page) -> dict:
    return json.loads(page.locator(".told").inner_text())


def test_python_sees_what_is_drawn(page) -> None:
    expect = sync_api.expect
    canvas = page.locator(".lesson-canvas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:  # of the picture -> of the page
        return box["x"] + x * box["width"] / 128, box["y"] + y * box["height"] / 96

    page.mouse.move(*at(20, 30))
    page.mouse.down()
    page.mouse.move(*at(100, 30), steps=5)
    page.mouse.up()
    expect(page.locator(".told")).to_contain_text("box")
    seen = told(page)
    assert seen["size"] == [128, 96]
    assert seen["box"] == pytest.approx([19, 29, 101, 31], abs=1)

    page.keyboard.press("Control+z")  # the canvas has the focus
    expect(page.locator(".told")).to_contain_text('"box": []')
    page.get_by_label("Brush").fill("8")
    page.touchscreen.tap(*at(64, 48))
    expect(page.locator(".told")).not_to_contain_text('"box": []')
    assert told(page)["box"] == pytest.approx([60, 44, 67, 51], abs=1)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".told")).to_contain_text('"box": []')
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".told")).not_to_contain_text('"box": []')


def test_a_moved_slider_changes_the_picture(page) -> None:
    expect = sync_api.expect
    wait_for_red(page, 10)
    slider = page.get_by_role("slider").last
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    wait_for_red(page, 15)
    expect(page.get_by_alt_text("The picture made for prompt a cat, level 15.")).to_be_visible()
    expect(page.locator(".lesson-rate")).to_contain_text("pictures a second")

    prompt = page.locator(".widget-text input")
    prompt.fill("impossible")
    expect(page.locator(".lesson-problem")).to_have_text(
        "No picture for these values: ValueError: no such picture."
    )
    prompt.fill("a dog")
    expect(page.get_by_alt_text("The picture made for prompt a dog, level 15.")).to_be_visible()
    expect(page.locator(".lesson-problem")).to_be_empty()


def test_an_answer_survives_the_kernel(page) -> None:
    expect = sync_api.expect
    cells = page.locator(".jp-CodeCell").count()
    expect(page.get_by_text("It takes fewer steps.")).to_have_count(0)
    choice = page.get_by_role("group", name="Which is <faster>?").get_by_role("button", name="turbo")
    choice.focus()
    page.keyboard.press("x")  # would cut the cell, were the key JupyterLab's
    page.keyboard.press("Enter")
    expect(page.locator(".lesson-told").first).to_have_text("Not quite. It takes fewer steps.")
    number = page.get_by_label("How many steps?")
    number.fill("99")
    number.press("Enter")  # out of range: the browser says so, and nothing is kept
    number.fill("7.5")
    number.press("Enter")
    expect(page.get_by_text("Your guess is kept: 7.5 steps.")).to_be_visible()

    before = page.get_by_text(re.compile(r"^kernel \d+")).inner_text()
    menu(page, "Kernel", "Restart Kernel and Run All Cells")
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.get_by_text(re.compile(r"^kernel \d+"))).not_to_have_text(before)
    expect(page.locator(".lesson-screen img")).to_be_visible()
    again = page.get_by_role("group", name="Which is <faster>?")
    expect(again.get_by_role("button", name="turbo")).to_contain_text("your prediction")
    expect(again).to_contain_text("It takes fewer steps.")
    expect(page.get_by_label("How many steps?")).to_have_value("7.5")
    assert page.locator(".jp-CodeCell").count() == cells

    again.get_by_role("button", name="Answer again").click()
    again.get_by_role("button", name="LCM").click()
    expect(again).to_contain_text("Right. It takes fewer steps.")
