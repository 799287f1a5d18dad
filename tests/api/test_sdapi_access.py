"""SD WebUI dialect: authentication, CORS, and who sees what."""
import pytest
import requests
from sdapi_client import Sdapi

PATHS = ["samplers", "loras", "options", "progress", "sd-models"]


@pytest.fixture(scope="module")
def locked(serve_module):
    return serve_module("--api-auth=user:secret,other:word").url


def test_auth_off_ignores_the_header(sd):
    for header in ("Basic ", "Basic Og==", "Bearer x", "nonsense"):
        assert sd.get("samplers", headers={"Authorization": header})


def test_auth_on(locked):
    sd = Sdapi(locked)
    for path in PATHS:
        response = sd.request("GET", path)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
        assert response.json() == {"error": "HTTPException", "detail": "Not authenticated",
                                   "body": "", "errors": "", "message": "Not authenticated"}
    for auth, detail in ((("user", "wrong"), "Incorrect username or password"),
                         (("", ""), "Incorrect username or password")):
        assert sd.get("samplers", 401, auth=auth)["detail"] == detail
    for value in ("Basic ???", "Basic YWJj"):
        assert (sd.get("samplers", 401, headers={"Authorization": value})["detail"] ==
                "Invalid authentication credentials")
    assert Sdapi(locked, auth=("user", "secret")).get("samplers")
    assert Sdapi(locked, auth=("other", "word")).txt2img().image


def test_cors(serve_module):
    url = serve_module("--api-auth=user:secret", "--cors-origins=https://lite.koboldai.net").url
    preflight = requests.options(url + "/sdapi/v1/txt2img", timeout=30, headers={
        "Origin": "https://lite.koboldai.net", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization"})
    assert preflight.status_code in (200, 204)
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://lite.koboldai.net"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    other = requests.options(url + "/sdapi/v1/txt2img", timeout=30, headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_no_cors_by_default(sd):
    answer = sd.request("GET", "samplers", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_options_of_two_keys_are_apart(serve_module):
    server = serve_module()
    alice = Sdapi(server.url, headers={"Authorization": f"Bearer {server.add_key('alice')}"})
    bob = Sdapi(server.url, auth=("anybody", server.add_key("bob")))
    alice.post("options", {"jpeg_quality": 11})
    assert alice.get("options")["jpeg_quality"] == 11
    assert bob.get("options")["jpeg_quality"] == 80
    assert Sdapi(server.url).get("options", 401)["detail"] == "Not authenticated"
