"""The page of the API in a browser: it lists every path, and tries calls on this server alone."""
from playwright.sync_api import expect


def test_a_call_is_tried(open_page, server):
    page = open_page()
    page.goto(server.url + "/docs")
    expect(page.get_by_role("heading", name="sdapi")).to_be_visible()
    page.get_by_label("Only paths with").fill("/sdapi/v1/txt2img")
    operation = page.locator(".operation:visible")
    expect(operation).to_have_count(1)
    operation.locator("summary").click()
    expect(operation.get_by_role("cell", name="hr_scale")).to_be_visible()
    operation.get_by_label("body").fill('{"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}')
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("img", name="a picture of the answer")).to_be_visible()
    expect(operation.locator("pre")).to_contain_text("200")


def test_parts_of_a_path(open_page, server):
    page = open_page()
    page.goto(server.url + "/docs")
    page.get_by_label("Only paths with").fill("/api/jobs/{id}/cancel")
    operation = page.locator(".operation:visible")
    operation.locator("summary").click()
    operation.get_by_label("id (path)").fill("no such job")
    page.expected = {404}
    operation.get_by_role("button", name="Send").click()
    expect(operation.locator("pre")).to_contain_text("404")
