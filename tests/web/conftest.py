"""Chromium for the page's tests: one browser, a fresh profile a test, and a page that fails its test
when the console shows an error or the content security policy had to step in. WEB_SIZE=phone in the
environment opens every page on a phone that says nothing of its size itself."""
import json
import os

import pytest
from jobs_client import Api
from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
USUAL = PHONE if os.environ.get("WEB_SIZE") == "phone" else {"viewport": {"width": 1280, "height": 900}}
SMALL = {"width": "64", "height": "64", "steps": "3"}
pytest.register_assert_rewrite("pages")
expect.set_options(timeout=60000)


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, server):
    """open_page(url, fields, **context options): the page, ready for use. `fields` are what the
    browser remembers of an earlier visit. `page.expected` holds statuses of answers that the test
    provokes on purpose: browsers log them as errors. Requests to `hold` wait for page.release()."""
    contexts, pages = [], []

    def open(url=server.url, fields=SMALL, ready=True, hold=None, **options):
        context = chromium.new_context(**{**USUAL, "service_workers": "block", **options})
        context.set_default_timeout(60000)
        contexts.append(context)
        settings = json.dumps({"version": 1, "fields": fields or {}, "extras": {}})
        context.add_init_script(f"""
            if (!localStorage.getItem('pictor.settings') && {json.dumps(bool(fields))})
                localStorage.setItem('pictor.settings', {json.dumps(settings)});
            addEventListener('securitypolicyviolation',
                (event) => console.error('CSP', event.violatedDirective, event.blockedURI));""")
        page = context.new_page()
        page.problems, page.expected = [], set()
        page.on("console", lambda m: m.type == "error" and page.problems.append(m.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        pages.append(page)
        if hold:
            held = []
            page.route(hold, lambda route: held.append(route))

            def release():
                for route in held:
                    route.continue_()
                page.unroute(hold)
            page.release = release
        page.goto(url if "#" in url else url + "/")
        if ready:
            page.wait_for_selector("#empty:not([hidden]), #gallery-head:not([hidden])")
        return page

    yield open
    for page in pages:
        left = [text for text in page.problems
                if not any(f"status of {status} " in text for status in page.expected)
                and not ("net::" in text and "net" in page.expected)]
        assert left == []
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def api(server):
    api = Api(server.url)
    api.clear()
    yield api
    api.clear()
