"""The editor's tools, by mouse, pen and fingers, on a desktop and a phone."""
import io
import json
import re

import pytest
from pages import PHONE, decode, sound
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.usefixtures("api")
SIZES = [{}, PHONE]


@pytest.fixture(params=SIZES, ids=["desktop", "phone"])
def editor(request, open_page):
    """The editor with a picture whose left half is red and whose right half is blue."""
    page = open_page(**request.param)
    halves = Image.new("RGB", (128, 128), "red")
    halves.paste("blue", (64, 0, 128, 128))
    png = io.BytesIO()
    halves.save(png, "PNG")
    page.locator("#source > summary").click()
    page.set_input_files("#source-file", {"name": "a.png", "mimeType": "image/png", "buffer": png.getvalue()})
    page.click("#source-edit")
    expect(page.locator("#edit-canvas")).to_be_focused()
    page.wait_for_function("() => document.getElementById('edit-size').value > 0")
    page.fill("#edit-prompt", "a red circle")
    return page


def frame(page):
    """Where the picture lies: left, top, width, height on the screen."""
    return page.evaluate("""() => {
        const { left, top, width, height } = document.getElementById('edit-preview').style;
        const box = document.getElementById('edit-canvas').getBoundingClientRect();
        return [box.left + parseFloat(left), box.top + parseFloat(top), parseFloat(width), parseFloat(height)];
    }""")


def at(page, x, y):
    left, top, width, height = frame(page)
    return left + x * width, top + y * height


def tool(page, name):
    page.locator("#edit-tools").get_by_role("button", name=name, exact=True).click()


def drag(page, *points):
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=5)
    page.mouse.up()


def mask_of(page):
    """The mask that is sent, of the picture's size; it is not painted."""
    sent = []
    page.route("**/api/jobs", lambda route: (sent.append(json.loads(route.request.post_data)), route.fulfill(
        status=400, json={"error": {"code": "invalid", "message": "not now", "param": None}})))
    page.expected.add(400)
    page.click("#edit-paint")
    expect(page.locator("#edit-error")).to_have_text(re.compile("not now", re.I))
    page.unroute("**/api/jobs")
    mask = decode(sent[0]["mask"]).convert("L")
    assert mask.size == (128, 128)
    return mask


def marked(mask, box=None):
    part = mask.crop(box) if box else mask
    return sum(part.histogram()[128:]) / (part.width * part.height)


LEFT, RIGHT = (0, 0, 62, 128), (66, 0, 128, 128)


def test_wand_and_invert(editor):
    tool(editor, "Wand")
    sound(editor)
    editor.mouse.click(*at(editor, 0.25, 0.5))
    mask = mask_of(editor)
    assert marked(mask, LEFT) == 1 and marked(mask, RIGHT) == 0
    tool(editor, "Invert")
    mask = mask_of(editor)
    assert marked(mask, LEFT) == 0 and marked(mask, RIGHT) == 1
    tool(editor, "Erase")
    editor.mouse.click(*at(editor, 0.75, 0.5))
    expect(editor.locator("#edit-what")).to_contain_text("Nothing is marked")
    tool(editor, "Undo")
    tool(editor, "Undo")
    mask = mask_of(editor)
    assert marked(mask, LEFT) == 1 and marked(mask, RIGHT) == 0
    tool(editor, "Redo")
    assert marked(mask_of(editor), RIGHT) == 1
    tool(editor, "Clear")
    expect(editor.locator("#edit-what")).to_contain_text("Nothing is marked")


def test_lasso_and_brush(editor):
    tool(editor, "Lasso")
    drag(editor, (0.1, 0.1), (0.4, 0.1), (0.4, 0.4), (0.1, 0.4))
    mask = mask_of(editor)
    assert marked(mask, (16, 16, 48, 48)) == 1 and marked(mask, (58, 58, 128, 128)) == 0
    tool(editor, "Brush")
    editor.locator("#edit-size").fill("16")
    drag(editor, (0.6, 0.8), (0.9, 0.8))
    mask = mask_of(editor)
    assert marked(mask, (80, 98, 112, 107)) == 1 and marked(mask, (80, 118, 112, 128)) == 0  # 16 pixels high
    tool(editor, "Erase")
    drag(editor, (0.1, 0.25), (0.4, 0.25))
    assert marked(mask_of(editor), (20, 28, 44, 36)) == 0


def test_the_soft_edge_is_seen(editor):
    """Across the edge of what is marked there are more shades the softer it is."""
    tool(editor, "Wand")
    editor.mouse.click(*at(editor, 0.25, 0.5))
    tool(editor, "Brush")

    def shades():
        editor.wait_for_timeout(200)
        x, y = at(editor, 0.5, 0.5)
        return editor.evaluate("""([x, y]) => {
            const canvas = document.getElementById('edit-canvas'), box = canvas.getBoundingClientRect();
            const scale = canvas.width / box.width;
            const { data } = canvas.getContext('2d').getImageData((x - box.left + 4) * scale, (y - box.top) * scale, 24 * scale, 1);
            return new Set(Array.from({ length: data.length / 4 }, (_, i) => data.slice(i * 4, i * 4 + 3).join())).size;
        }""", [x, y])

    editor.locator("#edit-blur").fill("0")
    sharp = shades()
    editor.locator("#edit-blur").fill("24")
    assert shades() > sharp + 5


def test_a_pen_presses(editor):
    cdp = editor.context.new_cdp_session(editor)
    editor.locator("#edit-size").fill("20")

    def stroke(y, force):
        for kind, x, buttons in (("mousePressed", 0.2, 1), ("mouseMoved", 0.5, 1), ("mouseMoved", 0.8, 1), ("mouseReleased", 0.8, 0)):
            across, down = at(editor, x, y)
            cdp.send("Input.dispatchMouseEvent", {"type": kind, "x": across, "y": down, "button": "left", "buttons": buttons,
                                                  "clickCount": 1, "pointerType": "pen", "force": force})

    stroke(0.25, 0.2)
    stroke(0.75, 0.9)
    mask = mask_of(editor)
    light, hard = (marked(mask, (50, top, 80, top + 64)) for top in (0, 64))
    assert 0 < light < hard / 3


def test_fingers_zoom_and_move(editor):
    if not editor.evaluate("matchMedia('(pointer: coarse)').matches"):
        x, y = at(editor, 0.5, 0.5)
        editor.mouse.move(x, y)
        before = editor.locator("#edit-zoom").inner_text()
        editor.mouse.wheel(0, -400)
        expect(editor.locator("#edit-zoom")).not_to_have_text(before)
        editor.locator("#edit-zoom").click()
        expect(editor.locator("#edit-zoom")).to_have_text(before)
        return
    cdp = editor.context.new_cdp_session(editor)
    (x, y), before = at(editor, 0.5, 0.5), frame(editor)

    def fingers(kind, *offsets):
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [
            {"x": x + across, "y": y + down, "id": i} for i, (across, down) in enumerate(offsets)]})

    fingers("touchStart", (-20, 0))
    fingers("touchStart", (-20, 0), (20, 0))
    for far in (25, 30, 40):
        fingers("touchMove", (-far, 0), (far, 0))
    fingers("touchEnd")
    editor.wait_for_function("(width) => parseFloat(document.getElementById('edit-preview').style.width) > width * 1.5", arg=before[2])
    expect(editor.locator("#edit-what")).to_contain_text("Nothing is marked")  # the first finger drew nothing
    editor.locator("#edit-zoom").click()
    assert abs(frame(editor)[2] - before[2]) < 2


def test_edges_are_dragged(editor):
    tool(editor, "Edges")
    drag(editor, (1, 0.5), (1.25, 0.5))
    expect(editor.locator("#edit-right")).to_have_value("32")
    drag(editor, (0.5, 0), (0.5, -0.2))
    expect(editor.locator("#edit-up")).not_to_have_value("0")
    up = int(editor.locator("#edit-up").input_value())
    sound(editor)
    with editor.expect_request("**/api/jobs") as request:
        editor.click("#edit-paint")
    assert json.loads(request.value.post_data)["extend"] == {"right": 32, "up": up}
    expect(editor.locator("#edit-swipe")).to_be_visible()


def test_before_and_after_are_swiped(editor):
    editor.click("#edit-paint")
    expect(editor.locator("#edit-swipe")).to_be_visible()
    expect(editor.locator("#edit-cut")).to_have_value("50")
    box = editor.locator("#edit-cut").bounding_box()
    editor.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    editor.mouse.down()
    editor.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2, steps=6)
    editor.mouse.up()
    assert 12 <= int(editor.locator("#edit-cut").input_value()) <= 28
    assert editor.locator("#edit-swipe").evaluate("(e) => parseFloat(e.style.getPropertyValue('--cut'))") <= 28
    sound(editor)
    editor.get_by_role("button", name="Back to the marks").click()
    expect(editor.locator("#edit-swipe")).to_be_hidden()
