"""SD WebUI dialect: the lists, and the small endpoints that clients look for a server with."""
import pytest
import requests

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
    assert sd.get("scripts") == {"txt2img": [], "img2img": ["outpainting mk2", "poor man's outpainting"]}
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
    assert sd.post("interrogate", {"image": ""}, 404)["detail"] == "Model not found"


def test_docs_name_every_route(serve):
    """People look there whether the API is on."""
    page = requests.get(serve().url + "/docs", timeout=30)
    assert page.status_code == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    for path in ("/sdapi/v1/txt2img", "/v1/images/generations", "/api/jobs/{id}", "/metrics"):
        assert f"<code>{path}</code>" in page.text
    off = requests.get(serve("--sdapi=off").url + "/docs", timeout=30)
    assert off.status_code == 200 and "sdapi" not in off.text and "/api/jobs" in off.text
