"""SD WebUI dialect: the lists, and the small endpoints that clients look for a server with."""
import base64
import json
import re

import pytest
import requests
from sdapi_client import Sdapi, encode, gradient

ARRAYS = ["samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models", "sd-vae",
          "sd-modules", "loras", "hypernetworks", "face-restorers", "realesrgan-models",
          "script-info", "extensions"]


@pytest.mark.parametrize("path", ARRAYS)
def test_arrays(sd, path):
    assert isinstance(sd.get(path), list)
    assert isinstance(sd.get(path + "/"), list)  # clients that add a slash are not redirected


def test_objects(sd):
    embeddings = sd.get("embeddings")
    assert embeddings == {"loaded": {}, "skipped": {}}
    assert set(sd.get("scripts")) == {"txt2img", "img2img"}
    memory = sd.get("memory")
    assert 0 < memory["ram"]["free"] <= memory["ram"]["total"]
    assert memory["cuda"] == {"error": "unavailable"}
    assert sd.get("cmd-flags")["api"] is True


WEBUI_SAMPLERS = [
    "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a",
    "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM", "DDIM CFG++",
    "PLMS", "UniPC", "LCM"]
WEBUI_SCHEDULERS = ["automatic", "uniform", "karras", "exponential", "polyexponential", "sgm_uniform",
                    "kl_optimal", "align_your_steps", "simple", "normal", "ddim", "beta"]


def test_samplers(sd):
    samplers = sd.get("samplers")
    names = [s["name"] for s in samplers]
    assert {"Euler a", "Euler", "DPM++ 2M", "DDIM"} <= set(names)
    assert len(names) == len(set(names))
    for sampler in samplers:
        assert list(sampler) == ["name", "aliases", "options"]
        assert all(isinstance(a, str) for a in sampler["aliases"])
        assert all(isinstance(v, str) for v in sampler["options"].values())
    dpm = samplers[names.index("DPM++ 2M")]
    assert dpm["aliases"] == ["k_dpmpp_2m"] and dpm["options"] == {"scheduler": "karras"}
    assert set(WEBUI_SAMPLERS) <= set(names)
    restart = samplers[names.index("Restart")]
    assert restart["options"] == {"scheduler": "karras", "second_order": "True"}


def test_schedulers(sd):
    schedulers = sd.get("schedulers")
    assert schedulers[0]["name"] == "automatic"
    assert [s["name"] for s in schedulers] == WEBUI_SCHEDULERS
    karras = next(s for s in schedulers if s["name"] == "karras")
    assert karras == {"name": "karras", "label": "Karras", "aliases": None, "default_rho": 7,
                      "need_inner_model": False}


def test_upscalers(sd):
    upscalers = sd.get("upscalers")
    assert upscalers[0]["name"] == "None"  # SillyTavern puts the latent modes behind it
    assert "Lanczos" in [u["name"] for u in upscalers]
    assert sd.get("latent-upscale-modes") == [{"name": name} for name in (
        "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)",
        "Latent (nearest)", "Latent (nearest-exact)")]


def test_models(sd):
    models = sd.get("sd-models")
    assert models
    options = sd.get("options")
    assert options["sd_model_checkpoint"] in [m["title"] for m in models]
    for model in models:
        assert list(model) == ["title", "model_name", "hash", "sha256", "filename", "config"]
        if model["sha256"]:
            assert model["hash"] == model["sha256"][:10]
            assert model["title"].endswith(f" [{model['hash']}]")
        assert not model["filename"].startswith("/")
    chosen = next(m for m in models if m["title"] == options["sd_model_checkpoint"])
    assert options["sd_checkpoint_hash"] == (chosen["sha256"] or "")


def test_is_anybody_there(sd):
    assert sd.get("/internal/ping") == {}
    assert sd.get("/queue/status")["msg"] == "estimation"
    assert isinstance(sd.get("/app_id")["app_id"], int)
    assert sd.request("GET", "/").status_code == 200


@pytest.mark.parametrize("path", ["skip", "refresh-checkpoints", "refresh-loras", "refresh-vae",
                                  "refresh-embeddings", "unload-checkpoint", "reload-checkpoint",
                                  "interrupt"])
def test_posts_without_a_model_take_any_body(sd, path):
    wanted = {} if path in ("unload-checkpoint", "reload-checkpoint", "interrupt") else None
    assert sd.post(path) == wanted
    assert sd.post(path, data='""') == wanted
    assert sd.post(path, data="{}", headers={"Content-Type": "application/json"}) == wanted
    assert sd.post(path, data="nonsense") == wanted


def test_unload_and_paint_again(sd):
    before = sd.txt2img(prompt="a cat")
    sd.post("unload-checkpoint")
    assert sd.txt2img(prompt="a cat").files == before.files


def test_unknown_paths_and_methods(sd):
    assert sd.get("nonsense", 404)["detail"] == "Not Found"
    assert sd.get("/adetailer/v1/version", 404)["detail"] == "Not Found"
    response = sd.request("GET", "txt2img")
    assert response.status_code == 405 and "POST" in response.headers["Allow"]
    assert response.json()["detail"] == "Method Not Allowed"


def test_openapi(serve, sd):
    """One document of every route, with the schemas of the tables that parse requests."""
    page = requests.get(serve().url + "/docs", timeout=30)
    assert page.status_code == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    script = re.search(r'src="(web/[^"]*docs\.js[^"]*)"', page.text)[1]
    assert requests.get(f"{page.url.removesuffix('/docs')}/{script}", timeout=30).status_code == 200
    doc = sd.get("/openapi.json")
    assert doc["openapi"] == "3.1.0" and doc["info"]["title"] == "pictor"
    for path in ("/sdapi/v1/txt2img", "/v1/images/generations", "/api/jobs/{id}", "/metrics", "/web/{name}"):
        assert path in doc["paths"]
    operations = [operation for item in doc["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) > 100
    for path, item in doc["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)) and operation["responses"]

    def body(path):
        return doc["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body("/sdapi/v1/txt2img")["steps"]["default"] == 50 and "array" in body("/sdapi/v1/txt2img")["styles"]["type"]
    assert "init_images" in body("/sdapi/v1/img2img") and "init_images" not in body("/sdapi/v1/txt2img")
    assert "prompt" in body("/api/jobs") and "output_format" in body("/v1/images/generations")
    assert body("/sdapi/v1/options").keys() == sd.get("options").keys()
    assert doc["paths"]["/healthz"]["get"]["security"] == []
    off = requests.get(serve("--sdapi=off").url + "/openapi.json", timeout=30).json()
    assert not any("sdapi" in path for path in off["paths"]) and "/api/jobs" in off["paths"]


def test_around_the_api(sd):
    assert sd.get("/config")["components"] == []
    info = sd.request("GET", "/internal/sysinfo")
    assert info.headers["Content-Type"].startswith("text/plain") and json.loads(info.text)["Version"].startswith("pictor-")
    assert "attachment" in sd.request("GET", "/internal/sysinfo-download").headers["Content-Disposition"]
    assert {"name", "label"} == set(sd.get("/internal/quicksettings-hint")[0])
    assert sd.get("/internal/profile-startup") == {}
    assert sd.get("/controlnet/settings") == {"control_net_unit_count": 4}
    assert "canny" in sd.get("/controlnet/control_types")["control_types"]["All"]["module_list"]
    for path in ("create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"):
        assert sd.post(path, {}, 501)["detail"]
    for path in ("server-stop", "server-kill", "server-restart"):
        assert sd.post(path, None, 404)["detail"] == "Not Found"


def test_interrogate(sd):
    painted = base64.b64encode(sd.txt2img(prompt="a red circle").files[0]).decode()
    assert sd.post("interrogate", {"image": painted, "model": "clip"}) == {"caption": "a red circle"}
    assert "describes pictures" in sd.post("interrogate", {"image": encode(gradient())}, 501)["detail"]
    assert sd.post("interrogate", {"image": painted, "model": "x"}, 404)["detail"] == "Model not found"
    assert sd.post("interrogate", {"image": ""}, 404)["detail"] == "Image not found"


def test_the_end_over_http(serve):
    server = serve("--api-server-stop")
    own = Sdapi(server.url)
    assert own.post("server-restart", None, 501)["detail"]
    assert own.request("POST", "server-stop").text == "Stopping."
    assert server.process.wait(30) == 0
