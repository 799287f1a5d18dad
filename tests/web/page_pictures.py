"""Pictures of the page for docs/pictures: every view, on a desktop and a phone, light and dark, four to a
sheet; the first one alone, too.

    build/venv/bin/python tests/web/page_pictures.py [VIEW...]          # after a build; four minutes
"""
import importlib.util
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
HIGH, GAP = 540, 12  # of a sheet


def there(page):
    page.wait_for_function("() => [...document.querySelectorAll('img')].every((i) => !i.checkVisibility() || !i.src || "
                           "i.naturalWidth || i.loading === 'lazy')")


def go(page, view):
    page.evaluate("for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close()")
    page.evaluate(f"location.hash = '#{view}'")


def paint(page, api):
    go(page, "create")
    page.wait_for_selector("#latest img")
    page.evaluate("scrollTo(0, 0)")


def wall(page, api):
    go(page, "create")
    page.locator("#gallery-title").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('gallery').scrollIntoView()")


def picture(page, api):
    go(page, "create")
    page.evaluate("scrollTo(0, 0)")
    page.locator("#latest .open").click()
    page.wait_for_selector("#lightbox-tags input")


def film(page, api):
    picture(page, api)
    page.get_by_role("button", name="How it came to be").click()
    page.wait_for_selector(".film-frame")
    page.wait_for_timeout(400)
    page.locator(".film-frame").nth(6).click()


def noising(page, api):
    page.get_by_role("button", name="From the picture to noise").click()
    page.locator(".film-frame").nth(4).click()


def editor(page, api):
    go(page, "create")
    page.evaluate("scrollTo(0, 0)")
    page.locator("#latest").get_by_role("button", name="Edit").click()
    page.wait_for_timeout(500)
    box = page.locator("#edit-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - box["width"] / 8, y + box["height"] / 5)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 8, y + box["height"] / 4, steps=9)
    page.mouse.up()
    page.fill("#edit-prompt", "a dragon")


def compose(page, api):
    go(page, "compose")
    page.fill("#compose-theme", "a fox in the forest")
    page.click("#compose-write")
    page.wait_for_function("() => document.getElementById('compose-by').textContent")
    page.fill("#compose-text", "a fox in the forest at sunset")
    page.fill("#compose-seed", "2")
    page.click("#compose-paint")
    page.wait_for_selector("#compose-stage[data-state=made]")
    page.wait_for_function("() => document.getElementById('compose-picture').naturalWidth")
    page.evaluate("scrollTo(0, 0)")


def models(page, api):
    go(page, "models")
    page.wait_for_selector("#wares li")


def experiment(page, api):
    go(page, "create")
    page.fill("#prompt", "a red house under the moon")
    go(page, "experiments")
    if page.locator("#experiments > li").count():
        page.locator("#experiments > li button").first.click()
    else:
        page.locator(".axis select").nth(0).select_option("prompt")
        page.fill("#axis-0", "red, blue, yellow")
        page.locator(".axis select").nth(1).select_option("guidance")
        page.fill("#axis-1", "1, 2, 4, 7")
        page.get_by_role("button", name="Paint them all").click()
    page.wait_for_function("() => document.querySelectorAll('.cell-open:not([hidden]) img').length === 12")
    if not page.locator(".picked").count():
        page.get_by_role("button", name="Pick blue, 2").click()


def experiments(page, api):
    page.get_by_role("button", name="All experiments").click()
    page.locator(".axis select").nth(0).select_option("prompt")
    page.fill("#axis-0", "red, blue, yellow")


def server(page, api):
    go(page, "server")
    page.wait_for_selector("#figures .tile")


def at_work(page, api):
    go(page, "create")
    page.evaluate("scrollTo(0, 0)")
    api.submit("a dragon in the mountains at night", width=256, height=256, steps=150, count=4, preview_every=1)
    for words in ("a boat on a lake", "an owl at night"):
        api.submit(words, width=256, height=256, steps=150)
    page.wait_for_selector(".running .preview:not([hidden])")
    page.wait_for_function("() => / step (3[0-9]|4[0-9]|5[0-9])/.test(document.querySelector('.running .now').textContent)")


def german(page, api):
    for job in api.call("GET", "?limit=50")["jobs"]:
        if job["state"] in ("queued", "running"):
            api.call("POST", f"/{job['id']}/cancel")
    page.wait_for_selector("#latest img")
    page.select_option("#language", "de")
    page.wait_for_selector("html[lang=de]")
    page.wait_for_selector("#latest img")
    page.evaluate("scrollTo(0, 0)")


VIEWS = [paint, wall, picture, film, noising, editor, compose, models, experiment, experiments, server, at_work, german]


def shots(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.mouse.move(2, 2)
    page.wait_for_timeout(700)
    there(page)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def sheet(images):
    small = [image.resize((round(image.width * HIGH / image.height), HIGH), Image.LANCZOS) for image in images]
    out = Image.new("RGB", (sum(image.width for image in small) + GAP * (len(small) - 1), HIGH), "#8a8f99")
    x = 0
    for image in small:
        out.paste(image, (x, 0))
        x += image.width + GAP
    return out


def take(browser, url, api, wanted):
    found = {}
    for size, options in SIZES.items():
        page = browser.new_page(locale="en-GB", **options)
        page.set_default_timeout(180000)
        page.on("pageerror", lambda error: sys.exit(f"the page failed: {error}"))
        page.goto(url + "/")
        page.wait_for_selector("#latest img")
        for view in VIEWS:
            if not wanted or view.__name__ in wanted:
                view(page, api)
                found.setdefault(view.__name__, []).extend(shots(page, scheme) for scheme in ("light", "dark"))
        page.close()
    return found


def main():
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
        found = take(browser, server.url, api, sys.argv[1:])
        browser.close()
        server.stop()
    for name, images in found.items():
        sheet(images).save(ROOT / f"docs/pictures/page-{name.replace('_', '-')}.webp", quality=72, method=6)
    if "paint" in found:
        found["paint"][0].save(ROOT / "docs/pictures/page.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
