"""What the page's tests have in common."""
import base64
import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

CARD = "figure.card"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


def paint(page, prompt, wait=True):
    cards = page.locator(CARD).count()
    page.fill("#prompt", prompt)
    page.click("#paint")
    if wait:
        expect(page.locator(CARD)).to_have_count(cards + 1)


def picture(size=(64, 64), color=(200, 30, 30), text=None):
    out, info = io.BytesIO(), PngInfo()
    if text:
        info.add_text("parameters", text)
    Image.new("RGB", size, color).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def decode(url):
    assert url.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def sent_by(page):
    with page.expect_request("**/api/jobs") as sent:
        page.click("#paint")
    return sent.value.post_data_json


def sideways(page):
    return page.evaluate("""() => [...document.querySelectorAll('body *')].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width > 1 && box.right > screen.width + 1 && !e.closest('.ideas, .hidden, .tabs, .nav, .film-strip, .grid-frame, .edit-tools, pre');
    }).map((e) => e.outerHTML.slice(0, 80)).concat(
        document.documentElement.scrollWidth > screen.width ? ['the page'] : [])""")


NAMELESS = """() => [...document.querySelectorAll(
    'button, a[href], input, select, textarea, canvas, dialog, progress, section, form')].filter((e) => {
    const by = (e.getAttribute('aria-labelledby') ?? '').split(' ').map((id) =>
        document.getElementById(id)?.textContent ?? '').join('');
    const name = e.getAttribute('aria-label') || by || [...e.labels ?? []].map((l) =>
        l.textContent).join('') || (/BUTTON|A/.test(e.tagName) ? e.textContent : '') ||
        e.querySelector('img[alt]')?.alt;
    return !name?.trim() && !e.hidden && e.getAttribute('aria-hidden') !== 'true' && e.id !== 'key-form';
}).map((e) => e.outerHTML.slice(0, 100)).concat(
    [...document.querySelectorAll('img:not([alt])')].map((e) => e.outerHTML),
    [...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i),
    [...document.querySelectorAll('[for]')].map((e) => e.htmlFor).filter((id) =>
        !document.getElementById(id)))"""

PALE = """() => {
    const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) =>
        v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const color = rgba(getComputedStyle(e).backgroundColor);
            if (color[3] > 250)
                return color;
        }
        return [255, 255, 255, 255];
    };
    return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() &&
        !e.closest('.hidden, .skip, dialog:not([open])') && ([...e.childNodes].some((n) =>
            n.nodeType === 3 && n.textContent.trim()) || e.matches('input, textarea, select')))
        .map((e) => {
            const a = light(rgba(getComputedStyle(e).color)), b = light(behind(e));
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            return [ratio, e.outerHTML.slice(0, 80)];
        }).filter(([ratio]) => ratio < 4.5);
}"""


def open_settings(page):
    page.locator("#settings > summary").click()
    expect(page.locator("#preset")).to_be_visible()


def sound(page):
    """Everything has a name, can be read and is on the screen."""
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(PALE) == []
    assert sideways(page) == []


# A wall of 100,000 pictures, as if all of them had been scrolled to.
THOUSANDS = """async () => {
    const { store } = await import(document.querySelector('script[src$="app.js"]').src.replace('app.js', 'store.js'));
    const [job] = store.jobs.values();
    for (let i = 0; i < 100000; i++) {
        const id = i.toString(16).padStart(32, '0');
        store.jobs.set(id, { ...job, id, live: false, created_at: job.created_at - i - 1,
            images: [{ ...job.images[0], width: [256, 384, 192][i % 3], height: 256 }].map((image) =>
                ({ ...image, id: `${id}` })) });
    }
    await store.search('');
    await new Promise((resolve) => setTimeout(resolve, 1000));
}"""

# Milliseconds in the middle of nine updates of each kind: nothing new, a step, a picture comes, one goes.
UPDATES = """async () => {
    const { store } = await import(document.querySelector('script[src$="app.js"]').src.replace('app.js', 'store.js'));
    const [newest] = [...store.jobs.values()].sort((a, b) => b.created_at - a.created_at);
    const change = () => new Promise((done) => store.addEventListener('change', () => setTimeout(done), { once: true }));
    const times = { nothing: [], step: [], comes: [], goes: [] };
    for (let i = 0; i < 9; i++) {
        const id = (0xf0000000 + i).toString(16).padStart(32, '0');
        const made = { ...newest, id, created_at: newest.created_at + 1 + i, images: [{ ...newest.images[0], id }] };
        for (const [kind, run] of [['nothing', () => store.tellAgain()],
            ['step', () => store.take('job', { ...made, state: 'running', images: [] })],
            ['comes', () => store.take('job', made)],
            ['goes', () => store.take('deleted', { id })]]) {
            const told = change(), began = performance.now();
            run();
            await Promise.resolve();
            times[kind].push(performance.now() - began);
            await told;
        }
    }
    return Object.fromEntries(Object.entries(times).map(([kind, all]) => [kind, all.sort((a, b) => a - b)[4]]));
}"""
