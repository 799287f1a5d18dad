"""Chromium for the page's tests: one browser, a fresh profile a test, and a page that fails its test
when the console shows an error or the content security policy had to step in."""
import json
import time

import pytest
import requests
from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]
FINAL = ("done", "failed", "cancelled")
SMALL = {"width": "64", "height": "64", "steps": "3"}
expect.set_options(timeout=20000)


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
    provokes on purpose: browsers log them as errors."""
    contexts, pages = [], []

    def open(url=server.url, fields=SMALL, ready=True, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20000)
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
        page.goto(url + "/")
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


class Api:
    """What another client does meanwhile."""

    def __init__(self, url, key=None):
        self.url = url + "/api/jobs"
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def call(self, method, path="", **kwargs):
        answer = requests.request(method, self.url + path, headers=self.headers, timeout=60, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def submit(self, prompt, **fields):
        return self.call("POST", json={"prompt": prompt, "width": 64, "height": 64, "steps": 2,
                                       **fields})

    def wait(self, job):
        end = time.monotonic() + 60
        while (job := self.call("GET", "/" + job["id"]))["state"] not in FINAL:
            assert time.monotonic() < end
            time.sleep(0.05)
        return job

    def clear(self):
        """Nothing runs and nothing hangs on the wall."""
        for job in self.call("GET", "?limit=200")["jobs"]:
            if job["state"] not in FINAL:
                self.call("POST", f"/{job['id']}/cancel")
            self.call("DELETE", "/" + job["id"])


@pytest.fixture
def api(server):
    api = Api(server.url)
    api.clear()
    yield api
    api.clear()
