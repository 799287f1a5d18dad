"""How long prompts are, by CLIP's own numbers: docs/api.md."""
import pytest
from test_native import Native


@pytest.fixture(scope="module")
def api(serve_module):
    return Native(serve_module().url)


def size(api, prompt, **fields):
    return api.post("/api/tokens", {"prompt": prompt, **fields})["prompt"]


def test_counts(api):
    answer = api.post("/api/tokens", {"prompt": "a photo of a cat", "negative_prompt": ""})
    assert answer == {
        "model": "pictor-mini",
        "prompt": {"cut": None, "tokens": 5, "chunks": 1, "texts": 1, "chunk_tokens": 75,
                   "most": 16200},
        "negative_prompt": {"cut": None, "tokens": 0, "chunks": 1, "texts": 1, "chunk_tokens": 75,
                            "most": 16200},
        "reason": None}
    assert size(api, "")["tokens"] == 0
    assert size(api, "a (photo:1.3) of [a] cat <lora:none:1>")["tokens"] == 5
    assert size(api, "a (cat)", syntax="plain")["tokens"] == 4, "brackets are words there"
    assert size(api, "cat " * 75)["chunks"] == 1
    assert size(api, "cat " * 76)["chunks"] == 2 and size(api, "cat " * 76)["tokens"] == 76
    assert size(api, "cat BREAK cat")["tokens"] == 76
    # A chunk ends behind its last comma where that is near.
    assert size(api, "cat " * 70 + ", " + "dog " * 5)["tokens"] == 75 + 5
    assert size(api, "cat " * 70 + ", " + "dog " * 5, comma_backtrack=0)["tokens"] == 76
    assert api.post("/api/tokens", {"prompt": "", "negative_prompt": "bad, ugly"})[
        "negative_prompt"]["tokens"] == 3


def test_texts(api):
    assert size(api, "a [cat:big dog:0.5]", steps=20) == {
        "cut": None, "tokens": 3, "chunks": 1, "texts": 2, "chunk_tokens": 75, "most": 16200}
    both = size(api, "a cat AND a very big dog")
    assert both["texts"] == 2 and both["tokens"] == 4


def test_too_long(api):
    prompt = "cat " * 16200
    assert size(api, prompt)["cut"] is None and size(api, prompt)["tokens"] == 16200
    long = size(api, prompt + "dog bird")
    assert long["cut"].split() == ["dog", "bird"] and long["tokens"] == 16200
    assert api.post("/api/jobs", {"prompt": prompt + "dog", "steps": 1}, 413)["param"] == "prompt"
    assert size(api, "x" * 100000)["cut"] == "x" * 100000
    assert size(api, "cat " * 20000 + "end")["cut"].endswith(" cat end")


def test_bad(api):
    assert api.post("/api/tokens", {"prompt": "a", "model": "none"}, 404)["param"] == "model"
    assert api.post("/api/tokens", {"prompt": "a", "promt": "b"}, 400)["param"] == "promt"
    assert api.post("/api/tokens", {"prompt": 7}, 400)["param"] == "prompt"
    assert api.post("/api/tokens", {"prompt": "a", "init_image": "x"}, 400)["param"] == "init_image"
    assert api.post("/api/tokens", {"prompt": "a", "styles": ["none"]}, 400)["param"] == "styles"
    assert api.post("/api/tokens", {"prompt": "(" * 70 + "a" + ")" * 70}, 400)["param"] == "prompt"
    assert api.post("/api/tokens", {}, 400)["param"] == "prompt"


def test_keys(serve):
    server = serve()
    key = server.add_key("user")
    body = {"prompt": "a cat"}
    assert Native(server.url).request("POST", "/api/tokens", json=body).status_code == 401
    assert Native(server.url, key).post("/api/tokens", body)["prompt"]["tokens"] == 2


def test_the_schema_has_what_is_read(api):
    def taken(path):
        operation = api.get("/openapi.json")["paths"][path]["post"]
        return operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    ours, jobs = taken("/api/tokens"), taken("/api/jobs")
    assert set(jobs) - set(ours) == {"init_image", "mask", "controls", "extend", "loras", "images",
                                     "relay", "compose", "priority", "tags"}
    assert all(ours[name] == jobs[name] for name in ours)
    for name in set(jobs) - set(ours):
        assert api.post("/api/tokens", {"prompt": "a", name: 1}, 400)["param"] == name
