"""Keys and their limits, and what was used, in the view of the server."""
import pytest
import requests
from jobs_client import Api
from pages import PHONE, sound
from playwright.sync_api import expect


@pytest.mark.parametrize("size", [{}, PHONE])
def test_limits_are_set_and_what_was_used_is_shown(open_page, serve, size):
    server = serve()
    admin, user = server.add_key("admin", "--admin"), server.add_key("anna")
    Api(server.url, user).wait(Api(server.url, user).submit("a cat", steps=1, count=2))

    def enter(key):
        page = open_page(server.url + "/#server", ready=False, **size)
        page.expected.update({401, 403})
        page.fill("#key", key)
        page.keyboard.press("Enter")
        expect(page.locator("#key-dialog")).to_be_hidden()
        return page

    page = enter(admin)
    expect(page.locator("#usage-rows tr")).to_have_count(1)
    expect(page.locator("#usage-rows")).to_contain_text("anna")
    expect(page.locator("#usage-days li")).to_have_count(30)
    page.get_by_role("button", name="Limits of anna").click()
    sound(page)
    page.fill("#limit-weight", "2")
    page.fill("#limit-pictures_per_day", "-3")
    page.expected.add(400)
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#limits .error")).not_to_be_empty()
    page.fill("#limit-pictures_per_day", "5")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator(".toast", has_text="The limits of anna are set")).to_be_visible()
    keys = requests.get(server.url + "/api/keys", headers={"Authorization": f"Bearer {admin}"}, timeout=30).json()["keys"]
    anna = next(key for key in keys if key["name"] == "anna")
    assert (anna["weight"], anna["pictures_per_day"], anna["pictures_per_month"]) == (2, 5, 0)
    page.get_by_role("button", name="Limits of anna").click()
    expect(page.locator("#limit-pictures_per_day")).to_have_value("5")
    page.keyboard.press("Escape")
    sound(page)
    page = enter(user)  # who sees his own use, and what is left of it
    expect(page.locator("#server-denied")).to_be_visible()
    expect(page.locator("#quota")).to_contain_text("2 of 5 used")
    expect(page.locator("#usage-rows tr")).to_have_count(1)
    sound(page)
