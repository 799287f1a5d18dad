"""Who paints, one by one, in the view of the server: the worker of a real one, and two elsewhere."""
import time

import pytest
import requests
from pages import PHONE, sound
from playwright.sync_api import expect

ELSEWHERE = {"local": False, "key": "3f2a", "version": "0.1.0", "device": "cpu amx 16 threads bf16", "cpu": "amx",
             "memory": 64 * 10**9, "disk": 100 * 10**9, "families": ["sdxl"], "seconds_per_step": 0.81, "seconds_per_megapixel_step": 3.2}


@pytest.mark.parametrize("size", [{}, PHONE])
def test_who_paints(open_page, api, server, size):
    api.wait(api.submit("seen here", steps=1))
    job = api.submit("slow one", steps=150, count=16, width=256, height=256)
    page = open_page(server.url + "/#server", ready=False, **size)
    here = page.locator("#worker-list li").first
    expect(here).to_contain_text("beside the server")
    expect(here).to_contain_text("at work")
    expect(here).to_contain_text("slow one")
    expect(here).to_contain_text("pictor mini (in memory)")
    api.call("POST", f"/{job['id']}/cancel")
    api.wait(job)
    expect(here.locator(".tag")).to_have_text("ready")
    local = requests.get(server.url + "/api/workers", timeout=30).json()["workers"]
    now = int(time.time() * 1000)
    far = [{**ELSEWHERE, "id": "worker:1:gpu-1", "name": "gpu-1", "host": "rack", "state": "painting", "job": "0" * 32, "models": ["anime/v2", "dev"],
            "warm": ["dev"], "since": now - 10**7, "seen_at": now - 2000},
           {**ELSEWHERE, "id": "worker:1:" + "long" * 15, "name": "long" * 15, "host": "x", "state": "away", "job": None, "models": [f"m{i}" for i in range(9)],
            "warm": [], "since": now - 10**7, "seen_at": now - 300_000}]
    page.route("**/api/workers", lambda route: route.fulfill(json={"workers": local + far}))
    rows = page.locator("#worker-list li")
    expect(rows).to_have_count(len(local) + 2)
    expect(rows.nth(len(local))).to_contain_text("a picture")
    for words in ("gpu-1", "at work", "dev (in memory), anime/v2", "64.0 GB", "100.0 GB", "810 ms", "just now", "rack · cpu amx"):
        expect(rows.nth(len(local))).to_contain_text(words)
    for words in ("away", "5 min ago", "m5 and 3 more", "on another machine"):
        expect(rows.last).to_contain_text(words)
    sound(page)
