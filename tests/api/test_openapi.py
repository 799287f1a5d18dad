"""What /openapi.json says of answers, held against real ones."""
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
    ("get", "/sdapi/v1/options", None, 200)]


@pytest.mark.parametrize("method, path, body, status", CALLS)
def test_answers_are_as_the_document_says(server, doc, method, path, body, status):
    answer = requests.request(method, server.url + path, json=body, timeout=120)
    assert answer.status_code == status, answer.text
    check(doc, method, path, answer)


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
