"""/v1/models, and errors that are the same for every path of the dialect."""
import pytest
import requests
from openai_client import OpenAI


@pytest.fixture(scope="module")
def ai(serve_module, tmp_path_factory):
    config = tmp_path_factory.mktemp("config") / "pictor.ini"
    config.write_text("[alias]\ngpt-image-1 = pictor-mini\norg/name = pictor-mini\n")
    return OpenAI(serve_module(f"--config={config}").url)


def check(model, id):
    assert model["id"] == id and model["object"] == "model"
    assert isinstance(model["created"], int) and model["owned_by"]


def test_list(ai):
    for path in ("/v1/models", "/v1/models/", "/models"):
        response = ai.request("GET", path)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        answer = response.json()
        assert answer["object"] == "list"
        ids = [model["id"] for model in answer["data"]]
        assert ids[0] == "pictor-mini" and {"gpt-image-1", "org/name"} < set(ids)
        for model in answer["data"]:
            check(model, model["id"])


@pytest.mark.parametrize("path, id", [
    ("pictor-mini", "pictor-mini"), ("gpt-image-1", "gpt-image-1"), ("org%2Fname", "org/name"),
    ("org/name", "org/name"), ("org%2fname/", "org/name")])
def test_one(ai, path, id):
    check(ai.request("GET", "/v1/models/" + path).json(), id)


def test_head(ai):
    response = ai.request("HEAD", "/v1/models")
    assert response.status_code == 200 and response.content == b""
    assert int(response.headers["Content-Length"]) > 0


def test_unknown(ai):
    for path in ("nope", "org%2Fnope", "org/nope", "..%2f..%2fetc%2fpasswd"):
        ai.error(404, "model_not_found", "model", method="GET", path="/v1/models/" + path)


def test_delete(ai):
    for path in ("pictor-mini", "org%2Fname"):
        ai.error(403, None, "model", method="DELETE", path="/v1/models/" + path,
                 type="permission_error")
    ai.error(404, "model_not_found", "model", method="DELETE", path="/v1/models/nope")


def test_unknown_paths(ai):
    for method, path in (("POST", "/v1/images/foo"), ("GET", "/v1/nope"), ("GET", "/v1/assistants"),
                         ("POST", "/images/foo")):
        message = ai.error(404, None, None, method=method, path=path)
        assert message == f"Invalid URL ({method} {path})"


def test_wrong_methods(ai):
    for method, path, allow in (("GET", "/v1/images/generations", "POST"),
                                ("PUT", "/v1/images/edits", "POST"),
                                ("POST", "/v1/models", "GET, HEAD"),
                                ("PATCH", "/v1/models/x", "GET, HEAD, DELETE")):
        assert ai.error(405, "method_not_supported", None, method=method, path=path).startswith(
            f"Not allowed to {method} on {path}.")
        assert ai.request(method, path).headers["Allow"] == allow


def test_off(serve):
    ai = OpenAI(serve("--openai=off").url)
    ai.error(404, None, None, method="GET", path="/v1/models")
    assert requests.get(ai.url + "/api/models", timeout=30).status_code == 200
