"""How quick and how steady the page is: interactive and transferred of a first visit in both languages, what
moves while it is used, and a wall of 100,000 pictures. Prints a table for docs/performance.md.

    build/venv/bin/python tests/web/measure.py          # after a build, on a quiet machine; half a minute
"""
import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/web"), str(ROOT / "tests")]
from conftest import FLAGS  # noqa: E402
from jobs_client import Api  # noqa: E402
from pages import PHONE, THOUSANDS, UPDATES  # noqa: E402

VISITS = 5
SIZES = {"desktop": {"viewport": {"width": 1280, "height": 900}}, "phone": PHONE}
# The page can be used when its lists are filled and the wall says what hangs there: a press on Paint paints.
READY = """
    globalThis.moved = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => { moved += entry.value; }))
        .observe({ type: 'layout-shift', buffered: true });
    new MutationObserver((_, watch) => {
        const part = (id) => document.getElementById(id);
        if (part('count')?.length > 1 && part('model').value && !(part('empty').hidden && part('gallery-head').hidden)) {
            globalThis.ready = performance.now();
            watch.disconnect();
        }
    }).observe(document, { subtree: true, childList: true, attributes: true });
"""
BYTES = """() => [...performance.getEntriesByType('resource').filter((e) => e.name.includes('/web/')),
    performance.getEntriesByType('navigation')[0]].reduce((sum, e) => sum + e.encodedBodySize, 0)"""


def visit(browser, url, locale, options):
    context = browser.new_context(locale=locale, service_workers="block", **options)
    context.add_init_script(READY)
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("() => globalThis.ready")
    page.wait_for_timeout(500)  # what comes late is heavy, and may move things, too
    found = page.evaluate("ready"), page.evaluate(BYTES), page.evaluate("moved")
    context.close()
    return found


def use(browser, url, options):
    """Paints two pictures, opens what folds and every view: what has moved by itself, beyond what was pressed."""
    context = browser.new_context(service_workers="block", **options)
    context.add_init_script(READY.replace("moved += entry.value", "moved += entry.hadRecentInput ? 0 : entry.value"))
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("() => globalThis.ready")
    page.evaluate("for (const [id, value] of [['width', 64], ['height', 64], ['steps', 3]]) document.getElementById(id).value = value")
    for words in ("a castle at night", "a fox in the forest"):
        page.fill("#prompt", words)
        page.click("#paint")
        page.wait_for_function("(words) => document.querySelector('figure.large')?.textContent.includes(words)",
                               arg=words, timeout=300_000)
    for view in ("compose", "models", "experiments", "server", "create"):
        page.click(f".nav a[href='#{view}']")
        page.wait_for_timeout(700)
    moved = page.evaluate("moved")
    context.close()
    return moved


def thousands(browser, url, options):
    page = browser.new_context(service_workers="block", **options).new_page()
    page.route("**/api/images/0**", lambda route: route.abort())
    page.goto(url)
    page.wait_for_selector("#gallery-head:not([hidden])")
    page.evaluate(THOUSANDS)
    nodes, spent = page.evaluate("document.querySelectorAll('*').length"), page.evaluate(UPDATES)
    page.context.close()
    return nodes, spent


def main():
    spec = importlib.util.spec_from_file_location("servers", ROOT / "tests/conftest.py")
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = servers.Server(folder)
        api, url = Api(server.url), server.url + "/"
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        rows = {}

        def row(name, values):
            rows.setdefault(name, []).append(values)
            print(f"{name}: {values}", file=sys.stderr, flush=True)

        for options in SIZES.values():
            for locale in ("en-GB", "de-DE"):
                found = [visit(browser, url, locale, options) for _ in range(VISITS)]
                row(f"interactive, {locale[:2]}", f"{statistics.median(ready for ready, _, _ in found):.0f} ms "
                    f"({min(ready for ready, _, _ in found):.0f}..{max(ready for ready, _, _ in found):.0f})")
                row(f"transferred, {locale[:2]}", f"{found[0][1] / 1000:.1f} KB")
                row(f"layout shift of a first visit, {locale[:2]}", f"{max(moved for _, _, moved in found):.4f}")
        for options in SIZES.values():
            row("layout shift of painting twice and of all views", f"{use(browser, url, options):.4f}")
        if not api.call("GET")["jobs"]:
            api.wait(api.submit("one"))
        for options in SIZES.values():
            nodes, spent = thousands(browser, url, options)
            row("elements with 100,000 pictures", f"{nodes}")
            for kind, milliseconds in spent.items():
                row(f"update of 100,000 pictures: {kind}", f"{milliseconds:.1f} ms")
        print("| | desktop | phone |\n|---|---|---|")
        for name, values in rows.items():
            print(f"| {name} | {' | '.join(values)} |")
        browser.close()
        server.stop()


if __name__ == "__main__":
    main()
