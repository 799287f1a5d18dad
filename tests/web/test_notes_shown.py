"""What a request said without any effect is said beside the picture, in people's words."""
import re
from pathlib import Path

import pytest
from pages import CARD, PHONE, sound
from playwright.sync_api import expect

pytestmark = pytest.mark.usefixtures("api")
ROOT = Path(__file__).resolve().parent.parent.parent
GUIDANCE_1 = {"negative_prompt": "blue", "guidance": 1, "mask_blur": 7}


@pytest.mark.parametrize("size", [{}, PHONE])
@pytest.mark.parametrize("locale, line, reasons", [
    ("en-GB", "Without effect: What to keep out, mask blur",
     ["What to keep out · a guidance of 1 leads away from nothing: set a higher one",
      "mask blur · counts where only a part of a picture is painted"]),
    ("de-AT", "Ohne Wirkung: Was nicht vorkommen soll, Weichheit der Maske",
     ["Was nicht vorkommen soll · eine Texttreue von 1 hält von nichts fern: Stell sie höher",
      "Weichheit der Maske · zählt, wo nur ein Teil eines Bildes gemalt wird"])])
def test_beside_the_picture_and_with_its_facts(open_page, api, size, locale, line, reasons):
    api.wait(api.submit("plain", steps=1))
    api.wait(api.submit("noted", steps=1, **GUIDANCE_1))
    page = open_page(locale=locale, **size)
    expect(page.locator(f"{CARD}.large .noted")).to_have_text(line)
    sound(page)
    page.locator(f"{CARD}.large .open").click()
    expect(page.locator("#lightbox-notes li")).to_have_text(reasons)
    sound(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lightbox-prompt")).to_have_text("plain")
    expect(page.locator("#lightbox-notes")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator(f"{CARD} .noted")).to_have_count(1)  # the wall is not crowded


def test_while_it_is_painted(open_page, api):
    job = api.submit("slow", steps=150, count=16, width=256, height=256, **GUIDANCE_1)
    page = open_page(ready=False)
    expect(page.locator("#queue-list .large .noted")).to_contain_text("Without effect: What to keep out")
    api.call("POST", f"/{job['id']}/cancel")
    api.wait(job)


def test_every_reason_has_words(open_page):
    """Those that the server's sources have."""
    text = "".join((ROOT / "server" / name).read_text()
                   for name in ("job/notes.c", "job/intake.c", "api/sdapi/sdapi_generate.c"))
    why = set(re.findall(r'"((?:no effect (?:with|on)|this model is not led|a guidance of 1|this model is told its)[^"]+|'
                         r'this model was distilled[^"]+)"', text))
    why |= {f"no effect {each}" for each in re.findall(r'"((?:without|on|with) [a-zA-Z_ ()]+)"', text)}
    why |= {"no effect: flux is another server's, which is not told of it"}
    assert len(why) > 16
    page = open_page(locale="de-DE")
    said = page.evaluate("""async (all) => {
        const web = document.querySelector('script[src$="app.js"]').src.replace('app.js', '');
        await (await import(web + 'views.js')).later('notes');
        const { factsOf } = await import(web + 'later/notes.js');
        return all.map((why) => factsOf({ notes: ['seed: ' + why] })[1].textContent);
    }""", [each.replace("%g", "3.5") for each in sorted(why)])
    assert not [each for each in said if re.search(r"no effect|this model|another server|guidance of", each)]
