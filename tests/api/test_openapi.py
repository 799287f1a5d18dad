"""What /openapi.json says of answers, held against real ones."""
import time

import jsonschema
import pytest
import requests

TINY = {"prompt": "a cat", "width": 64, "height": 64, "steps": 1, "seed": 1}


@pytest.fixture(scope="module")
def doc(server):
    return requests.get(server.url + "/openapi.json", timeout=30).json()


def check(doc, method, path, answer, pattern=None):
    """The answer is one that the document has for its status, or else for errors."""
    responses = doc["paths"][pattern or path][method]["responses"]
    said = responses.get(str(answer.status_code), responses["default"])
    assert str(answer.status_code) in responses or answer.status_code >= 400
    schema = said["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(answer.json(), schema)
    return answer.json()


CALLS = [
    ("post", "/api/jobs", TINY, 202), ("post", "/api/jobs", {"prompt": 7}, 400),
    ("get", "/api/jobs", None, 200), ("get", "/api/models", None, 200),
    ("post", "/api/compose", {"theme": "a fox"}, 200), ("post", "/api/compose", {}, 400),
    ("post", "/v1/images/generations", {"prompt": "x", "size": "64x64", "steps": 1}, 200),
    ("post", "/images/generations", {"prompt": "x", "size": "64x64", "steps": 1}, 200),
    ("post", "/v1/images/generations", {"prompt": 5}, 400), ("get", "/v1/models", None, 200),
    ("post", "/sdapi/v1/txt2img", TINY, 200), ("post", "/sdapi/v1/txt2img", {"steps": "x"}, 422),
    ("post", "/sdapi/v1/img2img", {}, 404), ("get", "/sdapi/v1/progress", None, 200),
    ("get", "/sdapi/v1/sd-models", None, 200), ("get", "/sdapi/v1/samplers", None, 200),
    ("get", "/sdapi/v1/options", None, 200), ("post", "/sdapi/v1/options", {}, 200),
    ("get", "/api/queue", None, 200), ("get", "/api/experiments", None, 200),
    ("post", "/api/experiments", {"name": "x", "base": TINY,
                                  "axes": [{"field": "steps", "values": [1]}]}, 202),
    ("post", "/api/jobs/batch", {"jobs": [TINY]}, 202), ("get", "/api/tags", None, 200),
    ("get", "/api/webhooks", None, 200), ("get", "/api/files?kind=lora", None, 200),
    ("post", "/api/tokens", {"prompt": "a"}, 200), ("get", "/api/schema", None, 200),
    ("post", "/api/infotext", {"text": "a\nSteps: 3"}, 200), ("get", "/api/info", None, 200),
    ("get", "/api/pulls", None, 200), ("get", "/api/keys", None, 200),
    ("post", "/api/delete", {"jobs": ["0" * 32]}, 200), ("post", "/api/models/unload", {}, 202),
    ("post", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}],
                                      "size": "64x64", "steps": 1}, 200),
    ("post", "/v1/responses", {"input": "x", "steps": 1, "model": "pictor-mini",
                               "tools": [{"type": "image_generation", "size": "64x64"}]}, 200),
    ("get", "/v1/batches", None, 200), ("get", "/v1/files", None, 200),
    ("get", "/sdapi/v1/cmd-flags", None, 200), ("get", "/sdapi/v1/memory", None, 200),
    ("get", "/sdapi/v1/schedulers", None, 200), ("get", "/sdapi/v1/upscalers", None, 200),
    ("get", "/sdapi/v1/latent-upscale-modes", None, 200), ("get", "/sdapi/v1/loras", None, 200),
    ("get", "/sdapi/v1/embeddings", None, 200), ("get", "/sdapi/v1/scripts", None, 200),
    ("get", "/sdapi/v1/script-info", None, 200), ("get", "/sdapi/v1/sd-vae", None, 200),
    ("get", "/sdapi/v1/prompt-styles", None, 200), ("get", "/sdapi/v1/extensions", None, 200),
    ("get", "/controlnet/version", None, 200), ("get", "/controlnet/model_list", None, 200),
    ("get", "/controlnet/module_list", None, 200), ("get", "/controlnet/settings", None, 200),
    ("get", "/controlnet/control_types", None, 200), ("post", "/sdapi/v1/skip", None, 200),
    ("post", "/sdapi/v1/interrupt", None, 200), ("post", "/sdapi/v1/refresh-loras", None, 200),
    ("post", "/sdapi/v1/refresh-checkpoints", None, 200),
    ("post", "/sdapi/v1/reload-checkpoint", None, 200),
    ("post", "/internal/progress", {}, 200), ("get", "/internal/pending-tasks", None, 200),
    ("get", "/queue/status", None, 200), ("get", "/app_id", None, 200),
    ("get", "/config", None, 200), ("get", "/internal/quicksettings-hint", None, 200),
    ("get", "/internal/ping", None, 200)]


@pytest.mark.parametrize("method, path, body, status", CALLS)
def test_answers_are_as_the_document_says(server, doc, method, path, body, status):
    answer = requests.request(method, server.url + path, json=body, timeout=120)
    assert answer.status_code == status, answer.text
    check(doc, method, path, answer, path.split("?")[0])


def test_answers_of_routes_with_names(server, doc):
    job = requests.post(server.url + "/api/jobs", json=TINY, timeout=60).json()["id"]
    check(doc, "get", "", requests.get(f"{server.url}/api/jobs/{job}", timeout=60), "/api/jobs/{id}")
    check(doc, "get", "", requests.get(f"{server.url}/api/jobs/no", timeout=60), "/api/jobs/{id}")
    for name in ("pictor-mini", "no"):
        check(doc, "get", "", requests.get(f"{server.url}/v1/models/{name}", timeout=60),
              "/v1/models/{model}")


def test_errors_of_every_operation_have_a_shape(doc):
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            assert "default" in operation["responses"], path
            if operation["tags"][0] in ("openai", "native", "sdapi"):
                assert "content" in operation["responses"]["default"], (method, path)


def test_requests(doc):
    """Parameters have names and types, null is as good as absent, and pictures come as files too."""
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                assert parameter["name"] and parameter["schema"], (method, path)
    parameters = {p["name"]: p for p in doc["paths"]["/v1/batches"]["get"]["parameters"]}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100}
    [kind] = [p for p in doc["paths"]["/api/files"]["get"]["parameters"] if p["name"] == "kind"]
    assert kind["required"] and "lora" in kind["schema"]["enum"]
    body = doc["paths"]["/v1/images/edits"]["post"]["requestBody"]
    assert body["required"] and set(body["content"]) == {"application/json", "multipart/form-data"}
    schema = body["content"]["application/json"]["schema"]
    assert schema["properties"]["prompt"]["type"] == "string"
    assert schema["properties"]["n"]["type"] == ["integer", "null"]
    assert None in schema["properties"]["quality"]["enum"]
    form = body["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image", "prompt"] and "n" in form["properties"]
    assert set(doc["paths"]["/v1/files"]["post"]["requestBody"]["content"]) == {"multipart/form-data"}
    for path, status in (("img2img", "500"), ("interrogate", "501"), ("train/{kind}", "501")):
        assert status in doc["paths"][f"/sdapi/v1/{path}"]["post"]["responses"]


# What no route answers but with an error: they are there to say so.
REFUSE = {"/sdapi/v1/server-restart", "/sdapi/v1/server-stop", "/sdapi/v1/server-kill",
          "/sdapi/v1/create/{kind}", "/sdapi/v1/train/{kind}", "/web/{name}", "/favicon.ico"}


def test_every_operation_has_a_good_answer(doc):
    bare = [(method, path) for path, methods in doc["paths"].items()
            for method, operation in methods.items()
            if len(operation["responses"]) < 2 and path not in REFUSE and
            not (method == "delete" and path.endswith("models/{model}"))]
    assert bare == []
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            for status, said in operation["responses"].items():
                for kind, body in said.get("content", {}).items():
                    if kind == "application/json":
                        jsonschema.Draft202012Validator.check_schema(body["schema"])


def test_answers_without_json(server, doc):
    job = requests.post(server.url + "/api/jobs", json=TINY, timeout=60).json()["id"]
    while not requests.get(f"{server.url}/api/jobs/{job}", timeout=60).json()["finished_at"]:
        time.sleep(0.05)
    image = requests.get(f"{server.url}/api/jobs/{job}", timeout=60).json()["images"][0]["id"]
    for path, pattern in ((f"/api/images/{image}", "/api/images/{id}"), ("/metrics", "/metrics"),
                          (f"/api/images/{image}/thumb", "/api/images/{id}/thumb"),
                          ("/healthz", "/healthz"), ("/readyz", "/readyz"), ("/docs", "/docs"),
                          (f"/api/jobs/{job}/events", "/api/jobs/{id}/events")):
        answer = requests.get(server.url + path, timeout=60)
        kinds = doc["paths"][pattern]["get"]["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["Content-Type"].split(";")[0]
        assert kind in kinds or kind.split("/")[0] + "/*" in kinds, (path, kind)
    answer = requests.delete(f"{server.url}/api/jobs/{job}", timeout=60)
    assert answer.status_code == 204
    assert doc["paths"]["/api/jobs/{id}"]["delete"]["responses"]["204"] == {"description": "done"}


def queries(doc):
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                if parameter["in"] == "query":
                    yield method, path.replace("{", "").replace("}", ""), parameter


def ask(server, method, path, text):
    return requests.request(method, f"{server.url}{path}?{text}", timeout=60,
                            **({} if method == "get" else {"json": {}}))


def test_an_empty_value_is_refused_but_where_the_document_takes_it(server, doc):
    """Of every parameter of every query; also one without its sign of equality."""
    free = set()
    for method, path, parameter in queries(doc):
        name, schema = parameter["name"], parameter["schema"]
        taken = jsonschema.Draft202012Validator(schema).is_valid("")
        for text in (name, f"{name}="):
            answer = ask(server, method, path, text)
            said = f"{name} is empty" in answer.text or "could not be parsed to a boolean" in answer.text
            if taken:
                free.add(name)
                assert not said, (path, text, answer.text)
            else:
                assert answer.status_code in (400, 422) and said, (path, text, answer.text)
                check(doc, method, "", answer, next(p for p in doc["paths"] if p.replace("{", "").replace("}", "") == path))
        assert ask(server, method, path, f"{name}=%00").status_code >= 400
    assert free == {"q", "download", "api-version"}


def test_numbers_in_queries_are_digits(server, doc):
    for method, path, parameter in queries(doc):
        if parameter["schema"].get("type") == "integer" and "/worker/" not in path:
            for text in ("%2B5", "%205", "5%20", "5.0", "0x5", "5e0", "-5", "%D9%A5", "99999999999999999999"):
                query = f"{parameter['name']}={text}" + ("&kind=lora" if path == "/api/files" else "")
                answer = ask(server, method, path, query)
                assert answer.status_code == 400, (path, query, answer.text)
                assert answer.json()["error"]["param"] == parameter["name"]
