"""Searching the wall by what pictures were painted with."""
import pytest
from pages import CARD, PHONE, sound
from playwright.sync_api import expect

pytestmark = pytest.mark.usefixtures("api")


@pytest.mark.parametrize("size", [{}, PHONE])
def test_pictures_are_found_by_their_settings(open_page, api, size):
    for words, fields in (("a cat", {"sampler": "Heun"}), ("a dog", {"sampler": "Heun", "steps": 1}), ("a cow", {"width": 128})):
        api.wait(api.submit(words, **fields))
    page = open_page(**size)
    expect(page.locator("#gallery-head")).to_be_visible()

    def finds(text, *words):
        page.fill("#search", text)
        expect(page.locator(f"{CARD} .label-prompt")).to_have_text(list(words))

    finds("sampler:heun", "a dog", "a cat")
    finds('sampler:"Heun" steps:1', "a dog")
    finds("cat sampler:Heun", "a cat")
    finds("size:128x64", "a cow")
    finds("steps:99")
    expect(page.locator("#nothing")).to_be_visible()
    finds("width:128 ca")
    finds("nonesuch:1")  # no field: words
    page.fill("#search", "")
    expect(page.locator("#latest")).to_contain_text("a cow")
    page.locator("#latest .open").click()
    expect(page.locator("#lightbox-prompt")).to_have_text("a cow")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lightbox-prompt")).to_have_text("a dog")
    sound(page)
    page.locator("#lightbox-facts").get_by_role("button", name="Heun").click()
    expect(page.locator("#search")).to_have_value("sampler:Heun")
    expect(page.locator(f"{CARD} .label-prompt")).to_have_text(["a dog", "a cat"])
    api.wait(api.submit("a newt", sampler="Heun"))  # what comes meanwhile is among them
    api.wait(api.submit("a hen", sampler="Euler"))
    expect(page.locator(f"{CARD} .label-prompt")).to_have_text(["a newt", "a dog", "a cat"])
    page.click("#filter")
    page.click("#filter-favourite")
    expect(page.locator("#nothing")).to_be_visible()
    page.click("#filter-favourite")
    expect(page.locator(CARD)).to_have_count(3)
