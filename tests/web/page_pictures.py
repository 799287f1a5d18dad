"""Pictures of the page for docs/pictures: phone and desktop, light and dark, at rest and at work.

    build/venv/bin/python tests/web/page_pictures.py          # after a build; a minute
"""
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tests/web")]
from conftest import FLAGS  # noqa: E402
from jobs_client import Api  # noqa: E402

SIZES = {"desktop": {"viewport": {"width": 1280, "height": 900}},
         "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}}
HUNG = [("a castle in the mountains at sunset", 2), ("a red car in the city", 4), ("a rainbow over a field", 3),
        ("a fox in the forest", 2), ("a cottage by a lake", 4), ("a rocket in space", 0),
        ("a lighthouse by the sea at sunset", 3)]


def take(page, name):
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(ROOT / f"docs/pictures/page-{name}.webp", quality=80, method=6)


def views(page, name, api):
    page.wait_for_selector("#latest img")
    page.wait_for_function("() => [...document.querySelectorAll('figure img')].every((i) => i.naturalWidth)")
    page.wait_for_timeout(800)
    take(page, name)
    if name == "desktop-light":
        page.locator("#latest .open").click()
        page.wait_for_timeout(800)
        take(page, "picture")
        page.get_by_role("button", name="How it came to be").click()
        page.wait_for_selector(".film-frame")
        page.wait_for_timeout(1800)
        take(page, "film")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.locator("#pictures").get_by_role("button", name="a sailboat").first.click()
        page.locator("#lightbox").get_by_role("button", name="Edit").click()
        page.wait_for_timeout(800)
        box = page.locator("#edit-canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x - 120, y + 150)
        page.mouse.down()
        page.mouse.move(x + 110, y + 170, steps=9)
        page.mouse.up()
        page.fill("#edit-prompt", "a whale")
        page.wait_for_timeout(300)
        take(page, "editor")
        page.keyboard.press("Escape")
        page.fill("#prompt", "a red house under the moon")
        page.evaluate("location.hash = '#experiments'")
        page.locator(".axis select").nth(0).select_option("prompt")
        page.fill("#axis-0", "red, blue, yellow")
        page.locator(".axis select").nth(1).select_option("guidance")
        page.fill("#axis-1", "1, 2, 4, 7")
        page.get_by_role("button", name="Paint them all").click()
        page.wait_for_function("() => document.querySelectorAll('.cell-open:not([hidden]) img').length === 12")
        page.get_by_role("button", name="Pick blue, 2").click()
        page.mouse.move(5, 5)
        page.wait_for_timeout(800)
        take(page, "experiment")
        for view in ("models", "server"):
            page.evaluate(f"location.hash = '#{view}'")
            page.wait_for_timeout(1500)
            take(page, view)
        for job in api.call("GET", "?limit=12")["jobs"]:
            api.call("DELETE", "/" + job["id"])
    if name == "desktop-dark":
        job = api.submit("a dragon in the mountains at night", width=256, height=256, steps=60, preview_every=1)
        page.wait_for_selector(".running .preview:not([hidden])")
        page.wait_for_function("() => /step (3[0-9]|4[0-9])/.test(document.querySelector('.running .now').textContent)")
        take(page, "at-work")
        api.wait(job)
        api.call("DELETE", "/" + job["id"])


def main():
    import importlib.util
    spec = importlib.util.spec_from_file_location("servers", ROOT / "tests/conftest.py")
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = servers.Server(folder)
        api = Api(server.url)
        for prompt, seed in HUNG:
            job = api.wait(api.submit(prompt, width=256, height=256, steps=20, seed=seed))
            assert job["state"] == "done", job["error"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for size, options in SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(color_scheme=scheme, **options)
                page.set_default_timeout(180000)
                page.goto(server.url + "/")
                views(page, f"{size}-{scheme}", api)
                page.close()
        browser.close()
        server.stop()


if __name__ == "__main__":
    main()
