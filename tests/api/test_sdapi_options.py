"""SD WebUI dialect: options."""
import pytest
from sdapi_client import Sdapi, wait_for


@pytest.fixture
def own(serve):
    """A server of its own: options are kept. Titles change once, when the hash is known."""
    sd = Sdapi(serve().url)
    wait_for(lambda: sd.get("options")["sd_checkpoint_hash"])
    return sd


def test_round_trip(own):
    options = own.get("options")
    assert options["samples_format"] == "png"
    assert "forge_preset" not in options
    assert own.post("options", options) is None
    assert own.get("options") == options


def test_set_and_read(own):
    assert own.post("options", {"send_seed": False, "jpeg_quality": 95.0}) is None
    options = own.get("options")
    assert options["send_seed"] is False and options["jpeg_quality"] == 95
    own.post("options/", {"send_seed": "true", "jpeg_quality": "70", "nonsense": [1],
                          "api_enable_requests": True, "samples_save": None})
    options = own.get("options/")
    assert options["send_seed"] is True and options["jpeg_quality"] == 70
    assert options["samples_save"] is True and "nonsense" not in options


def test_options_shape_pictures(own):
    own.post("options", {"samples_format": "webp", "CLIP_stop_at_last_layers": 2})
    done = own.txt2img()
    assert done.image.format == "WEBP" and done.info["clip_skip"] == 2
    assert own.txt2img(override_settings={"samples_format": "png"}).image.format == "PNG"
    assert own.get("options")["samples_format"] == "webp"


def test_lists(own):
    own.post("options", {"infotext_skip_pasting": ["Seed", "Size"]})
    assert own.get("options")["infotext_skip_pasting"] == ["Seed", "Size"]


def test_options_survive_a_restart(serve):
    server = serve()
    Sdapi(server.url).post("options", {"jpeg_quality": 33})
    server.restart()
    assert Sdapi(server.url).get("options")["jpeg_quality"] == 33


def test_checkpoint_names(own):
    model = own.get("sd-models")[0]
    stem = model["filename"].rsplit("/")[-1].removesuffix(".safetensors")
    names = [model["title"], model["filename"], model["model_name"], stem, stem.upper()]
    if model["hash"]:
        names += [model["hash"], model["sha256"], f"{stem} [{model['hash']}]"]
    for name in names:
        assert own.post("options", {"sd_model_checkpoint": name}) is None
        assert own.get("options")["sd_model_checkpoint"] == model["title"]
        progress = own.progress()
        assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    answer = own.post("options", {"sd_model_checkpoint": "nope"}, 500)
    assert answer["error"] == "RuntimeError" and answer["errors"] == "model 'nope' not found"
    own.post("options", {"sd_model_checkpoint": [1]}, 422)
    assert own.request("POST", "options", data='{"sd_model_checkpoint": "%s"}' % stem,
                       headers={"Content-Type": ""}).status_code == 200


@pytest.mark.parametrize("body", [{"emphasis": "x"}, {"comma_padding_backtrack": 75}, {"eta_noise_seed_delta": "x"},
                                  {"samples_format": "tiff"}, {"randn_source": "TPU"},
                                  {"token_merging_ratio": 1}, {"s_min_uncond": -1}, {"jpeg_quality": "high"}, {"send_seed": 7},
                                  {"img2img_extra_noise": 0.5}, {"infotext_skip_pasting": [[[[1]]]]},
                                  {"infotext_skip_pasting": [1]}])
def test_values_that_are_refused(own, body):
    before = own.get("options")
    name = next(iter(body))
    assert own.post("options", body, 422)["detail"][0]["loc"] == ["body", name]
    assert own.get("options") == before


def test_bodies_that_are_no_options(own):
    for data in ("", "[1]", "nonsense", "null", '"x"'):
        own.post("options", data=data, status=422)
    assert own.post("options", []) is None
    assert own.post("options", {}) is None
