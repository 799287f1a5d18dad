"""POST /v1/images/generations: what is accepted, what is refused, and in which words."""
import io
import json

import pytest
import requests
from PIL import Image
from openai_client import TINY, OpenAI, pixels, wait_for

DALL_E = ("dall-e-2", "dall-e-3")
GPT_IMAGE = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-1.5-2025-12-16",
             "gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-2.5-sunburst",
             "gpt-image-2.5-sunburst-2026-09-08", "gpt-image-2.5-flare", "gpt-image-2.6-sunburst",
             "gpt-image-2.6-flare", "chatgpt-image-latest")


@pytest.fixture(scope="module")
def ai(server):
    return OpenAI(server.url)


# ---- accepted ----

def test_smallest_request(ai):
    answer = ai.answer({"prompt": "x", "steps": 1})
    assert len(answer["data"]) == 1 and answer["output_format"] == "png"


def test_native_size_is_the_default(ai):
    model = ai.request("GET", "/api/models").json()["models"][0]
    native = f"{model['width']}x{model['height']}"
    assert ai.answer({**TINY, "steps": 1, "size": None})["size"] == native
    assert ai.answer({**TINY, "steps": 1, "size": "auto"})["size"] == native


def test_every_digit_of_a_seed(ai):
    for seed in (6004799503160661, 2 ** 64 - 2):
        number = ai.images({**TINY, "seed": seed})
        assert number == ai.images({**TINY, "seed": str(seed)})
        assert number != ai.images({**TINY, "seed": seed + 1})


def test_n_and_seed(ai):
    first = ai.images({**TINY, "n": 2})
    assert len(first) == 2 and first[0] != first[1]
    assert ai.images({**TINY, "n": 2}) == first
    # Picture i has seed + i.
    again = ai.images({**TINY, "seed": 8})
    assert pixels(again[0]) == pixels(first[1])
    assert ai.images({**TINY, "seed": None}) != ai.images({**TINY, "seed": -1})


def test_prose_is_no_syntax(ai):
    """Weights are read, edits and AND are words; other prompts' infotext does not speak of it."""

    def paint(prompt):
        image = Image.open(io.BytesIO(ai.images({**TINY, "prompt": prompt})[0]))
        return image.tobytes(), image.text["parameters"]

    assert paint("a (red:1.5) cat")[0] != paint("a red cat")[0]
    assert paint("a cat AND a dog")[0] == paint("a cat and a dog")[0]
    assert paint("a cat, 16:9")[0] != paint("a cat, 16")[0]
    assert "Prompt syntax: weights" in paint("a cat AND a dog")[1]
    assert "syntax" not in paint("a (red:1.5) cat")[1]


def test_null_is_absent(ai):
    names = ("n", "quality", "background", "output_format", "output_compression", "stream",
             "partial_images", "response_format", "style", "moderation", "model", "user",
             "safety_identifier", "complexity", "guidance_scale", "negative_prompt", "sampler",
             "scheduler", "num_inference_steps", "strength", "something_new")
    ai.answer({**TINY, **dict.fromkeys(names)})


@pytest.mark.parametrize("size", ["64x64", "128x64", "64x128", "96x80"])
def test_sizes(ai, size):
    assert ai.answer({**TINY, "size": size})["size"] == size


def test_jpeg_compression(ai):
    small, = ai.images({**TINY, "output_format": "jpeg", "output_compression": 10})
    large, = ai.images({**TINY, "output_format": "jpeg", "output_compression": 95})
    assert small[:2] == b"\xff\xd8" and len(small) < len(large)


def test_webp(ai):
    data, = ai.images({**TINY, "output_format": "webp", "output_compression": 80})
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def test_links(ai):
    b64, = ai.images({**TINY, "response_format": "b64_json"})
    item, = ai.answer({**TINY, "response_format": "url"})["data"]
    assert item["url"].startswith(ai.url + "/v1/images/files/") and item["url"].endswith(".png")
    answer = requests.get(item["url"], timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/png"
    assert pixels(answer.content) == pixels(b64)
    assert requests.head(item["url"], timeout=30).headers["Content-Length"] == str(
        len(answer.content))
    other = ai.answer({**TINY, "response_format": "url"},
                      headers={"X-Forwarded-Proto": "https"})["data"][0]["url"]
    assert other.startswith("https://")


@pytest.mark.parametrize("model", DALL_E + GPT_IMAGE + ("pictor-mini", None))
def test_openais_own_models(ai, model):
    """They mean the default model, and answer links where OpenAI does."""
    item, = ai.answer({**TINY, "steps": 1, "model": model})["data"]
    assert list(item) == (["url"] if model in DALL_E else ["b64_json"])
    for wanted, key in (("url", "url"), ("b64_json", "b64_json")):
        item, = ai.answer({**TINY, "steps": 1, "model": model, "response_format": wanted})["data"]
        assert list(item) == [key]
    if model:
        found = ai.request("GET", "/v1/models/" + model).json()
        assert found["id"] == model and found["owned_by"] == "pictor"


def test_openais_own_models_mapped_and_forbidden(serve, tmp_path):
    config = tmp_path / "pictor.ini"
    config.write_text("[alias]\ndall-e-3 = pictor-mini\ndall-e-2 = none\n")
    own = OpenAI(serve(f"--config={config}", "--default-model=gone").url)
    own.answer({**TINY, "model": "dall-e-3"})
    for model in ("dall-e-2", "gpt-image-1", None):  # forbidden; the default is gone
        own.error(404, "model_not_found", "model", {**TINY, "model": model})
    own = OpenAI(serve(f"--config={config}", "--openai-names=off").url)
    own.answer({**TINY, "model": "dall-e-3"})
    own.answer(TINY)
    for model in ("dall-e-2", "gpt-image-1", "chatgpt-image-latest"):
        own.error(404, "model_not_found", "model", {**TINY, "model": model})
        own.error(404, "model_not_found", "model", method="GET", path="/v1/models/" + model)


def test_streams_hold_pictures_whatever_the_model(ai):
    (name, event), = ai.stream({**TINY, "model": "dall-e-3"})
    assert name == "image_generation.completed" and event["b64_json"]


@pytest.mark.parametrize("file", ["x", "0" * 32, "0" * 32 + ".png", "../../pictor.db",
                                  "..%2f..%2fpictor.db", "0" * 32 + ".exe", "g" * 32 + ".png"])
def test_unknown_links(ai, file):
    ai.error(404, None, None, method="GET", path="/v1/images/files/" + file)


@pytest.mark.parametrize("fields", [
    {"model": "dall-e-3", "quality": "hd", "style": "vivid", "n": 1, "user": "u"},
    {"model": "dall-e-2", "response_format": "b64_json"},
    {"model": "gpt-image-1.5", "quality": "low", "background": "opaque", "moderation": "low",
     "output_format": "png", "safety_identifier": "s"},
    {"model": "gpt-image-2.6-flare", "quality": "max", "complexity": "high"},
    {"model": "pictor-mini", "n": 1, "response_format": "b64_json"},  # Open WebUI
    {"num_inference_steps": 1, "steps": None, "guidance_scale": 3.5, "negative_prompt": "blue",
     "sampler": "Euler", "scheduler": "karras"},
    {"foo": 1, "frame_count": None, "svg": {"model": "x"}},
])
def test_requests_of_all_ages(ai, fields):
    ai.answer({**TINY, **fields})


@pytest.mark.parametrize("fields, text", [
    ({"sampler": "Euler", "churn": 8, "churn_low": 1, "churn_high": 5, "noise_scale": 1.1},
     "Sigma churn: 8.0, Sigma tmin: 1.0, Sigma tmax: 5.0, Sigma noise: 1.1"),
    ({"sampler": "Euler", "scheduler": "karras", "sigma_min": 0.1, "sigma_max": 10, "rho": 3},
     "Schedule min sigma: 0.1, Schedule max sigma: 10.0, Schedule rho: 3.0"),
    ({"sampler": "Euler", "scheduler": "beta", "beta_alpha": 0.3, "beta_beta": 0.9},
     "Beta schedule alpha: 0.3, Beta schedule beta: 0.9"),
    ({"sampler": "Euler a", "eta": 0.5}, "Eta: 0.5"),
])
def test_sampling(ai, fields, text):
    data, = ai.images({**TINY, **fields})
    assert text in Image.open(io.BytesIO(data)).text["parameters"]


def test_what_is_ignored_is_named(ai):
    """In a header, since strict clients know every member of an answer."""
    plain = ai.request("POST", "/v1/images/generations", json=TINY)
    assert "x-ignored-parameters" not in plain.headers
    for fields, names in (
            ({"foo": 1, "frame_count": 3}, "foo, frame_count"),
            ({"quality": "hd", "style": "natural"}, "quality, style"),
            ({"complexity": "high", "strength": 0.4}, "complexity, strength"),
            ({"f\u00e4rbe": 1, "image_size": "1024x1024"}, "f??rbe, image_size"),
            ({"stream": True, "foo": 1}, "foo")):
        answer = ai.request("POST", "/v1/images/generations", json={**TINY, **fields})
        assert answer.status_code == 200 and answer.headers["x-ignored-parameters"] == names
    for fields in ({"foo": None, "quality": "auto"}, {"style": "vivid", "user": "u"},
                   {"quality": "standard", "moderation": "low", "output_compression": 30,
                    "background": "opaque", "safety_identifier": None, "partial_images": 2}):
        answer = ai.request("POST", "/v1/images/generations", json={**TINY, **fields})
        assert "x-ignored-parameters" not in answer.headers, fields
        assert answer.json()["data"] == plain.json()["data"]


def test_safety_identifier_is_echoed(ai):
    assert ai.answer({**TINY, "safety_identifier": "s1"})["safety_identifier"] == "s1"
    assert "safety_identifier" not in ai.answer(TINY)


# The long one has as many characters as are allowed, but not more words than the engine takes.
@pytest.mark.parametrize("prompt", ["h\u00e9 \U0001f600 \"quoted\"\n\ttabs",
                                    "a" + "\u3000" * 31998 + "b"], ids=["odd", "long"])
def test_prompts(ai, prompt):
    ai.answer({**TINY, "prompt": prompt})
    # Raw UTF-8 as well as \u escapes.
    ai.answer(data=json.dumps({**TINY, "prompt": prompt}, ensure_ascii=False).encode(),
              headers={"Content-Type": "application/json; charset=utf-8"})


@pytest.mark.parametrize("character", ["\u732b", "\u9f98", "\u0e01", "\U00010330", "\U0001f600"])
def test_dall_es_4000_characters_in_any_script(ai, character):
    ai.answer({**TINY, "prompt": character * 4000, "steps": 1})


def test_extensions_count(ai):
    """Each as the native API has it; what they do is the engine's matter."""
    plain = {**TINY, "sampler": "DDIM", "steps": 4}
    for fields in ({"eta": 1.0}, {"clip_skip": 2}, {"scheduler": "karras"}, {"sampler": "Heun"}):
        assert ai.images({**plain, **fields}) != ai.images(plain), fields
    for field, value in (("eta", 2), ("clip_skip", 0), ("clip_skip", 99)):
        ai.error(400, "invalid_value", field, {**TINY, field: value})
    ai.error(400, "invalid_type", "clip_skip", {**TINY, "clip_skip": "x"})


# ---- Azure ----

def test_azures_paths(ai):
    """The name of a deployment is the model, whatever the body says."""
    azure = "/openai/deployments/pictor-mini/images/generations?api-version=2025-04-01-preview"
    answer = ai.request("POST", azure, json={**TINY, "model": "other"})
    assert answer.status_code == 200 and "x-ignored-parameters" not in answer.headers
    assert answer.json()["data"] == ai.answer(TINY)["data"]
    assert "url" in ai.answer(TINY, path=azure.replace("pictor-mini", "dall-e-3"))["data"][0]
    ai.error(404, "DeploymentNotFound", None, TINY, path=azure.replace("pictor-mini", "nope"))
    for path in ("/openai/v1/images/generations?api-version=preview", "/openai/v1/images/generations"):
        assert ai.answer(TINY, path=path)["data"] == answer.json()["data"]
    ids = [m["id"] for m in ai.request("GET", "/openai/models?api-version=x").json()["data"]]
    assert "pictor-mini" in ids


def test_keys_and_limits_as_azure_and_openai_say_them(serve):
    server = serve("--max-requests-per-minute=3")
    key = server.add_key("user")
    ai = OpenAI(server.url)
    ai.error(401, None, None, TINY)
    ai.error(401, "invalid_api_key", None, TINY, headers={"api-key": "nope"})
    left = []
    for _ in range(3):
        answer = ai.request("POST", "/v1/images/generations", json=TINY, headers={"api-key": key})
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        left.append(answer.headers["x-ratelimit-remaining-requests"])
    assert left[0] == "2" and left[-1] == "0"
    refused = ai.request("POST", "/v1/images/generations", json=TINY, headers={"api-key": key})
    assert refused.status_code == 429 and refused.headers["x-ratelimit-remaining-requests"] == "0"
    models = ai.request("GET", "/v1/models", headers={"api-key": key})
    assert models.status_code == 200 and "x-ratelimit-limit-requests" in models.headers


def test_content_type_may_be_missing(ai):
    ai.answer(data=json.dumps(TINY).encode())
    ai.answer(data=json.dumps(TINY).encode(), headers={"Content-Type": "APPLICATION/JSON"})


@pytest.mark.parametrize("path", ["/v1/images/generations/", "/images/generations"])
def test_other_spellings_of_the_path(ai, path):
    ai.answer(TINY, path=path)


def test_chunked_body(ai):
    text = json.dumps(TINY).encode()
    ai.answer(data=iter([text[:7], text[7:]]), headers={"Content-Type": "application/json"})


def test_any_key_without_keys(ai):
    for value in ("Bearer sk-test", "bearer sk-test", "Basic Og==", "x"):
        ai.answer(TINY, headers={"Authorization": value})


def test_prompt_of_too_many_words(ai):
    """What only the engine can count is counted before there is a job."""
    jobs = ai.request("GET", "/api/jobs").json()["jobs"]
    message = ai.error(400, "string_above_max_length", "prompt", {**TINY, "prompt": "7" * 20000})
    assert "16200 tokens" in message
    ai.error(400, "string_above_max_length", "negative_prompt",
             {**TINY, "negative_prompt": "7" * 20000})
    ai.error(400, "invalid_value", "prompt", {**TINY, "prompt": "(" * 100 + "cat"})
    ai.error(400, "invalid_value", "prompt", {**TINY, "prompt": "(cat:9" + "9" * 60 + ")"})
    ai.error(400, "string_above_max_length", "prompt",
             {**TINY, "prompt": "7" * 20000, "stream": True})
    assert ai.request("GET", "/api/jobs").json()["jobs"] == jobs


# ---- refused ----

def test_missing_prompt(ai):
    ai.error(400, "missing_required_parameter", "prompt", {})
    ai.error(400, "missing_required_parameter", "prompt", {"prompt": None})
    ai.error(400, "empty_string", "prompt", {"prompt": ""})


@pytest.mark.parametrize("body", [b'{"prompt":', b"", b"\xff\xfe", b'{"prompt":"\xff"}', b"{}x",
                                  b"[" * 100000, b'{"a":' * 100000, b'{"prompt":"\\ud800"}',
                                  b'{"prompt":"a\\u0000b"}', b"nul", b"\0"])
def test_not_json(ai, body):
    ai.error(400, None, None, data=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("body", ["[]", '"x"', "null", "1", "true"])
def test_not_an_object(ai, body):
    ai.error(400, None, None, data=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("fields, code, param", [
    ({"prompt": 5}, "invalid_type", "prompt"),
    ({"prompt": ["a"]}, "invalid_type", "prompt"),
    ({"prompt": "x" * 32001}, "string_above_max_length", "prompt"),
    ({"prompt": "\u00e9" * 32001}, "string_above_max_length", "prompt"),
    ({"n": 0}, "integer_below_min_value", "n"),
    ({"n": -1}, "integer_below_min_value", "n"),
    ({"n": 11}, "integer_above_max_value", "n"),
    ({"n": 1e99}, "integer_above_max_value", "n"),
    ({"n": "2"}, "invalid_type", "n"),
    ({"n": 1.5}, "invalid_type", "n"),
    ({"n": True}, "invalid_type", "n"),
    ({"size": 1024}, "invalid_type", "size"),
    ({"quality": "ultra"}, "invalid_value", "quality"),
    ({"background": "blue"}, "invalid_value", "background"),
    ({"output_format": "tiff"}, "invalid_value", "output_format"),
    ({"output_format": "gif"}, "invalid_value", "output_format"),
    ({"response_format": "file"}, "invalid_value", "response_format"),
    ({"style": "x"}, "invalid_value", "style"),
    ({"moderation": "none"}, "invalid_value", "moderation"),
    ({"output_compression": 101}, "integer_above_max_value", "output_compression"),
    ({"output_compression": -1}, "integer_below_min_value", "output_compression"),
    ({"partial_images": 4}, "integer_above_max_value", "partial_images"),
    ({"stream": "yes"}, "invalid_type", "stream"),
    ({"background": "transparent", "output_format": "jpeg"}, "invalid_value", "background"),
    ({"background": "transparent"}, "invalid_value", "background"),
    ({"steps": 0}, "invalid_value", "steps"),
    ({"steps": 100000}, "invalid_value", "steps"),
    ({"guidance_scale": -1}, "invalid_value", "guidance_scale"),
    ({"guidance_scale": "7"}, "invalid_type", "guidance_scale"),
    ({"seed": -2}, "integer_below_min_value", "seed"),
    ({"seed": 2 ** 64}, "integer_above_max_value", "seed"),
    ({"seed": "x"}, "invalid_type", "seed"),
    ({"sampler": "nope"}, "invalid_value", "sampler"),
    ({"scheduler": "nope"}, "invalid_value", "scheduler"),
    ({"rho": 0.05}, "invalid_value", "rho"),
    ({"sigma_min": 3, "sigma_max": 2}, "invalid_value", "sigma_min"),
])
def test_wrong_fields(ai, fields, code, param):
    ai.error(400, code, param, {**TINY, **fields})


@pytest.mark.parametrize("size", [
    "1024", "axb", "1024x", "x1024", "-512x512", "0x0", "1000x1000", "99999x16", "1024x1024x3",
    " 1024x1024", "1024X1024", "16x16", "999999999999x64", "64x64 ", "", "1e2x64", "8192x64"])
def test_wrong_sizes(ai, size):
    ai.error(400, "invalid_value", "size", {**TINY, "size": size})


def test_messages(ai):
    assert (ai.error(400, "invalid_value", "size", {**TINY, "size": "1792x936"}) ==
            "Invalid size '1792x936'. Width and height must both be divisible by 16.")
    assert "Expected a value <= 10, but got 11 instead" in ai.error(
        400, "integer_above_max_value", "n", {**TINY, "n": 11})


def test_unknown_model(ai):
    message = ai.error(404, "model_not_found", "model", {**TINY, "model": "nope"})
    assert message == "The model 'nope' does not exist."
    for model in ("../../etc/passwd", "/etc/passwd", "pictor-mini/..", "x" * 200, "dall-e", "gpt-5",
                  "gpt-image", "my-dall-e-3", "DALL-E-3"):
        ai.error(404, "model_not_found", "model", {**TINY, "model": model})
    ai.error(400, "string_above_max_length", "model", {**TINY, "model": "x" * 201})


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded",
                                  "multipart/form-data; boundary=x", "application/jsonx"])
def test_content_types(ai, kind):
    ai.error(400, "unsupported_content_type", None, data=b"{}", headers={"Content-Type": kind})


def test_full_queue(serve):
    """429 with a Retry-After that SDKs honour (1..60 seconds)."""
    ai = OpenAI(serve("--max-queue=1").url)
    long_job = {"prompt": "x", "width": 512, "height": 512, "steps": 150, "count": 16}
    running = ai.request("POST", "/api/jobs", json=long_job).json()["id"]
    wait_for(lambda: ai.request("GET", "/api/jobs/" + running).json()["state"] == "running")
    assert ai.request("POST", "/api/jobs", json=long_job).status_code == 202
    ai.error(429, "rate_limit_exceeded", None, TINY, type="rate_limit_error")
    response = ai.request("POST", "/v1/images/generations", json=TINY)
    assert 1 <= int(response.headers["Retry-After"]) <= 60
