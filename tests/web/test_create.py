"""What helps with writing: earlier prompts, chips, presets, what a model is to have, keys; and the page as an
app of its own."""
import json

import pytest
import requests
from pages import CARD, PHONE, open_settings, paint, sent_by, sound
from playwright.sync_api import expect

pytestmark = pytest.mark.usefixtures("api")
SIZES = [{}, PHONE]


@pytest.mark.parametrize("size", SIZES)
def test_earlier_prompts(open_page, api, size):
    for words in ("a red circle", "a blue house", "a red circle"):
        api.wait(api.submit(words, steps=1))
    page = open_page(**size)
    expect(page.locator(CARD)).to_have_count(3)
    prompt = page.locator("#prompt")
    page.fill("#prompt", "half a thou")
    for key, words in (("Up", "a red circle"), ("Up", "a blue house"), ("Up", "a blue house"), ("Down", "a red circle"),
                       ("Down", "half a thou"), ("Down", "half a thou")):
        page.keyboard.press(f"Alt+Arrow{key}")
        expect(prompt).to_have_value(words)
    page.get_by_role("button", name="Earlier prompts").click()
    found = page.locator("#recall-list button")
    expect(found).to_have_text(["a red circle", "a blue house"])  # each once, the newest first
    sound(page)
    page.fill("#recall-find", "BLUE")
    expect(found).to_have_text(["a blue house"])
    page.fill("#recall-find", "zebra")
    expect(page.locator("#recall-none")).to_be_visible()
    page.fill("#recall-find", "")
    found.nth(1).click()
    expect(prompt).to_have_value("a blue house")
    expect(prompt).to_be_focused()


def test_nothing_was_painted_before(page):
    expect(page.locator("#recall")).to_be_hidden()
    page.fill("#prompt", "mine")
    page.keyboard.press("Alt+ArrowUp")
    page.wait_for_timeout(300)
    expect(page.locator("#prompt")).to_have_value("mine")


@pytest.mark.parametrize("size", SIZES)
def test_chips_go_into_the_prompt_and_out(open_page, serve, tmp_path, size):
    (tmp_path / "wildcards/style").mkdir(parents=True)
    (tmp_path / "wildcards/color.txt").write_text("red\nblue\n")
    (tmp_path / "wildcards/style/ink.txt").write_text("ink\n")
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\nnight,at night,\n")
    server = serve(f"--wildcards={tmp_path / 'wildcards'}", f"--styles={tmp_path / 'styles.csv'}")
    page = open_page(server.url, **size)
    files = [{"name": "inky", "weight": 0.8, "trigger": "ink style", "problem": None},
             {"name": "a:b", "trigger": None, "problem": None}, {"name": "bad", "problem": "it is broken"}]
    page.route("**/api/files?kind=lora**", lambda route: route.fulfill(json={"files": files, "count": 3}))
    page.route("**/api/files?kind=embedding**", lambda route: route.fulfill(
        json={"files": [{"name": "easy.neg", "trigger": None, "problem": None}], "count": 1}))
    page.locator("#additions > summary").click()
    chips = page.locator("#additions-list button")
    expect(chips).to_have_text(["inky", "easy.neg", "color", "style/ink"])  # none that the prompt cannot name
    page.fill("#prompt", "a house")
    for name in ("inky", "easy.neg", "color"):
        page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#prompt")).to_have_value("a house, ink style <lora:inky:0.8>, easy.neg, __color__")
    expect(page.locator("#additions-list [aria-pressed=true]")).to_have_count(3)
    sound(page)
    for name in ("easy.neg", "inky"):
        page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#prompt")).to_have_value("a house, __color__")
    expect(page.locator("#additions-list [aria-pressed=true]")).to_have_text(["color"])
    page.get_by_role("button", name="night", exact=True).click()
    expect(page.locator("#additions-summary")).to_have_text("night")
    assert sent_by(page)["styles"] == ["night"]
    expect(page.locator("figcaption .label-prompt")).to_contain_text("at night")
    said = requests.get(server.url + "/api/jobs", timeout=30).json()["jobs"][0]["params"]["prompt"]
    assert said in ("a house, red, at night", "a house, blue, at night")


def test_many_additions_are_searched(open_page, serve, tmp_path):
    folder = tmp_path / "wildcards"
    folder.mkdir()
    for i in range(30):
        (folder / f"kind{i:02}.txt").write_text("one\n")
    page = open_page(serve(f"--wildcards={folder}").url)
    page.locator("#additions > summary").click()
    expect(page.locator("#additions-list button")).to_have_count(24)
    expect(page.locator("#additions-wildcard")).to_contain_text("24 of 30")
    page.fill("#additions-find", "kind2")
    expect(page.locator("#additions-list button")).to_have_count(10)
    expect(page.locator("#additions-wildcard")).to_have_text("Wildcards ")


def test_no_additions_say_where_they_come_from(page):
    page.locator("#additions > summary").click()
    expect(page.locator("#additions-none")).to_contain_text("Models")


@pytest.mark.parametrize("size", SIZES)
def test_presets(open_page, size):
    page = open_page(**size)
    open_settings(page)
    expect(page.locator("#preset")).to_be_disabled()
    page.get_by_role("button", name="Save", exact=True).click()  # without a name
    expect(page.locator("#preset-name")).to_be_focused()
    page.fill("#prompt", "a red circle")
    page.fill("#negative_prompt", "blurry")
    page.fill("#steps", "2")
    page.select_option("#sampler", "Heun")
    page.locator("#expert > summary").click()
    page.fill("#expert-rho", "5")
    page.fill("#preset-name", "quick")
    page.keyboard.press("Enter")
    expect(page.locator(".toast", has_text="Saved as quick")).to_be_visible()
    expect(page.locator("#preset")).to_have_value("quick")
    assert page.locator(CARD).count() == 0  # Enter saved it and painted nothing
    page.fill("#steps", "9")
    page.fill("#preset-name", "slow")
    page.get_by_role("button", name="Save", exact=True).click()
    sound(page)
    page.click("#reset")
    page.fill("#prompt", "another")
    page.reload()
    expect(page.locator("#empty")).to_be_visible()
    open_settings(page)
    expect(page.locator("#preset option")).to_have_text(["choose", "quick", "slow"])
    page.select_option("#preset", "quick")
    expect(page.locator("#steps")).to_have_value("2")
    expect(page.locator("#extras button")).to_have_text(["rho 5 ×"])
    expect(page.locator("#prompt")).to_have_value("another")  # what to paint stays
    body = sent_by(page)
    assert (body["steps"], body["sampler"], body["rho"], body["negative_prompt"]) == (2, "Heun", 5, "blurry")
    expect(page.locator(CARD)).to_have_count(1)
    page.get_by_role("button", name="Remove this preset").click()
    expect(page.locator("#preset option")).to_have_text(["choose", "slow"])
    page.locator(".toast", has_text="quick removed").get_by_role("button", name="Undo").click()
    expect(page.locator("#preset")).to_have_value("quick")


def test_presets_that_are_broken(page):
    for kept in ("no JSON", "[]", '{"x": {"version": 99}}', '{"x": null}'):
        page.evaluate("(kept) => localStorage.setItem('pictor.presets', kept)", kept)
        page.reload()
        open_settings(page)
        expect(page.locator("#preset")).to_be_attached()
        if '"x"' in kept:
            page.select_option("#preset", "x")
    paint(page, "a red circle")


def test_what_a_model_is_to_have_is_kept(open_page, serve, tmp_path):
    (tmp_path / "ini").write_text("[upstream far]\nbase_url = http://127.0.0.1:9/v1\nmodels = away\n")
    page = open_page(serve(f"--config={tmp_path / 'ini'}").url, fields=None)
    open_settings(page)
    usual = page.locator("#steps").input_value()
    page.fill("#steps", "7")
    page.select_option("#sampler", "Heun")
    page.click("#own")
    expect(page.locator("#own")).to_have_text("Forget what is kept for the model")
    page.fill("#steps", "3")
    page.select_option("#model", "away")
    expect(page.locator("#own")).to_have_text("Keep these for the model")
    assert page.locator("#steps").input_value() != "7"
    page.select_option("#model", "pictor-mini")
    expect(page.locator("#steps")).to_have_value("7")
    expect(page.locator("#sampler")).to_have_value("Heun")
    page.fill("#steps", "3")
    page.click("#reset")
    expect(page.locator("#steps")).to_have_value("7")
    page.click("#own")
    page.click("#reset")
    expect(page.locator("#steps")).to_have_value(usual)


def test_a_picture_brings_its_own_settings_and_not_what_is_kept(open_page, api):
    api.wait(api.submit("a red circle", steps=3, sampler="Euler"))
    page = open_page()
    page.evaluate("""localStorage.setItem('pictor.models', JSON.stringify({'pictor-mini': {steps: '9', guidance: '1', sampler: 'Heun'}}))""")
    page.locator("#latest .open").click()
    page.locator("#lightbox").get_by_role("button", name="Use these settings").click()
    body = sent_by(page)
    assert (body["steps"], body["sampler"]) == (3, "Euler") and body["guidance"] != 1


@pytest.mark.parametrize("size", SIZES)
def test_what_keys_do(open_page, size):
    page = open_page(**size)
    page.fill("#prompt", "what")
    page.keyboard.type("?")
    expect(page.locator("#prompt")).to_have_value("what?")
    page.locator("#paint").focus()
    page.keyboard.press("?")
    dialog = page.locator("#shortcuts")
    expect(dialog).to_contain_text("Earlier prompts")
    sound(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Keyboard").click()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate("location.hash = '#models'")
    expect(page.locator("#models-title")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#easel")).to_be_visible()


def test_every_sampler_and_schedule_says_what_it_is_good_for(page):
    open_settings(page)
    for which in ("sampler", "scheduler"):
        names = page.locator(f"#{which} option").evaluate_all("(all) => all.map((each) => each.value)")
        said = set()
        for name in names:
            page.select_option(f"#{which}", name)
            expect(page.locator(f"#{which}-about")).not_to_have_text("")
            said.add(page.locator(f"#{which}-about").inner_text())
        assert len(said) == len(names) > 10


def test_the_page_is_an_app(open_page, server):
    page = open_page()
    link = page.locator("link[rel=manifest]").evaluate("(link) => link.href")
    answer = requests.get(link, timeout=30)
    assert answer.headers["Content-Type"].startswith("application/manifest+json")
    manifest = json.loads(answer.text)
    assert requests.compat.urljoin(link, manifest["start_url"]) == server.url + "/"
    assert requests.compat.urljoin(link, manifest["scope"]) == server.url + "/"
    for icon in manifest["icons"] + [{"src": "../" + page.locator("link[rel=apple-touch-icon]").get_attribute("href"), "type": "image/png"}]:
        found = requests.get(requests.compat.urljoin(link, icon["src"]).replace("/web/web/", "/web/"), timeout=30)
        assert found.ok and found.headers["Content-Type"] == icon["type"], icon
    errors = page.context.new_cdp_session(page).send("Page.getAppManifest")["errors"]
    assert errors == []
    able = page.context.new_cdp_session(page).send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {each["errorId"] for each in able} <= {"in-incognito", "no-matching-service-worker"}  # of this test's browser


def test_each_thing_is_asked_for_once(open_page, serve):
    """And before the page's modules are there; with a key as without."""
    server = serve()
    for name in (None, "somebody"):
        stored = name and server.add_key(name)
        page = open_page(server.url, ready=False)
        if stored:
            page.evaluate("(key) => localStorage.setItem('pictor.key', key)", stored)
        page.goto(server.url + "/healthz")  # nothing of the first visit is to come any more
        asked = []
        page.on("request", lambda request, to=asked: "/api/" in request.url and to.append(request.url.split("/api/")[1]))
        page.goto(server.url + "/")
        page.wait_for_selector("#empty:not([hidden])")
        assert sorted(asked) == ["events", "info", "jobs?limit=48", "models", "queue", "schema"]
        starts = page.evaluate("""() => Object.fromEntries(performance.getEntriesByType('resource').map((e) =>
            [e.name.replace(/.*(?:web.@[^/]*.|api.)/, ''), e.startTime]))""")
        assert starts["info"] < starts["app.js"] + 50
        page.close()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_jumps_when_a_view_is_opened(open_page, api, size):
    api.wait(api.submit("a boat", steps=1))
    page = open_page(**size)
    page.evaluate("""globalThis.moved = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
            globalThis.moved += entry.hadRecentInput ? 0 : entry.value;
        })).observe({ type: 'layout-shift' })""")
    for view, seen in (("server", "#figures .tile"), ("models", "#files li"), ("experiments", "#experiment-count"),
                       ("compose", "#compose-text"), ("create", "#prompt")):
        page.evaluate("(view) => { location.hash = view; }", view)
        expect(page.locator(seen).first).to_be_visible()
        page.wait_for_timeout(300)
    assert page.evaluate("moved") < 0.02
