"""LoRAs in prompts of every API: `<lora:NAME:WEIGHT>` changes the picture, and leaves nothing behind."""
import base64
import json
import random
import struct
import subprocess
import time

import pytest
import requests
from conftest import PROGRAM, ROOT
from sdapi_client import TINY, Sdapi

BUILTIN = ROOT / "engine" / "builtin" / "pictor-mini.safetensors"
UNET, TEXT = "model.diffusion_model.", "cond_stage_model.transformer."


def shapes():
    """Name -> shape of the built-in model's tensors."""
    with open(BUILTIN, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    return {k: v["shape"] for k, v in header.items() if k != "__metadata__"}


def write_lora(path, prefix, root, contains, seed, metadata=None):
    """A LoRA of rank 1 for every matrix below `root` whose name contains that."""
    numbers, header, data = random.Random(seed), {}, b""
    for name, shape in sorted(shapes().items()):
        if not (name.startswith(root) and name.endswith(".weight") and contains in name
                and len(shape) == 2):
            continue
        module = prefix + name[len(root):-len(".weight")].replace(".", "_")
        for part, size in (("lora_down", [1, shape[1]]), ("lora_up", [shape[0], 1])):
            values = [numbers.gauss(0, 0.5) for _ in range(size[0] * size[1])]
            header[f"{module}.{part}.weight"] = {
                "dtype": "F32", "shape": size, "data_offsets": [len(data), len(data) + 4 * len(values)]}
            data += struct.pack(f"<{len(values)}f", *values)
    assert header
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def fill(folder):
    write_lora(folder / "style.safetensors", "lora_unet_", UNET, "attn2.to_v", 1)
    write_lora(folder / "anime" / "words.safetensors", "lora_te_", TEXT, "fc1", 2)
    write_lora(folder / "other.safetensors", "lora_te2_", TEXT, "fc1", 3)
    (folder / "broken.safetensors").write_bytes(b"nothing of the kind")


@pytest.fixture(scope="module")
def loras(serve_module):
    server = serve_module()
    fill(server.folder / "data" / "loras")
    return server


@pytest.fixture(scope="module")
def api(loras):
    return Sdapi(loras.url)


def paint(api, prompt, **fields):
    body = api.post("txt2img", {**TINY, "prompt": prompt, **fields})
    return base64.b64decode(body["images"][0]), json.loads(body["info"])


def pixels(png):
    """The picture without its texts, which name the prompt."""
    import io

    from PIL import Image
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


def test_list(api):
    listed = api.get("loras")
    assert [(x["name"], x["alias"], x["path"]) for x in listed] == [
        ("words", "words", "anime/words.safetensors"), ("broken", "broken", "broken.safetensors"),
        ("other", "other", "other.safetensors"), ("style", "style", "style.safetensors")]
    assert all(x["metadata"] == {} for x in listed)


def test_refresh(loras, api):
    late = loras.folder / "data" / "loras" / "zz" / "late.safetensors"
    listed = [x["name"] for x in api.get("loras")]  # the next list within a second scans nothing
    late.parent.mkdir()
    late.write_bytes(b"")
    try:
        api.post("refresh-loras", {})
        assert [x["name"] for x in api.get("loras")] == [*listed, "late"]
    finally:
        late.unlink()
        api.post("refresh-loras", {})
    assert [x["name"] for x in api.get("loras")] == listed


def test_changes_the_picture_and_leaves_nothing_behind(api):
    plain = pixels(paint(api, "a red circle")[0])
    png, info = paint(api, "a red circle<lora:style:1>")
    styled = pixels(png)
    assert styled != plain
    assert info["prompt"] == "a red circle<lora:style:1>"  # tags stay in what is said of a picture
    assert "<lora:style:1>" in info["infotexts"][0]
    assert pixels(paint(api, "a red circle<lora:style:0.5>")[0]) not in (plain, styled)
    assert pixels(paint(api, "a red circle<lora:style:0>")[0]) == plain
    assert pixels(paint(api, "a red circle<lora:style>")[0]) == styled  # 1 where nothing is said
    assert pixels(paint(api, "a red circle")[0]) == plain


def test_strengths_of_text_and_network(api):
    plain = pixels(paint(api, "a red circle")[0])
    words = pixels(paint(api, "a red circle<lora:words:1>")[0])
    assert words != plain
    assert pixels(paint(api, "a red circle<lora:words:0:1>")[0]) == plain
    assert pixels(paint(api, "a red circle<lora:anime/words:te=1:unet=0>")[0]) == words
    assert pixels(paint(api, "a red circle<lora:style:0:1>")[0]) != plain
    both = pixels(paint(api, "<lora:style:1>a red circle<lora:words:1>")[0])
    assert both not in (plain, words)


def test_unknown_names_are_said_and_negative_prompts_are_text(api):
    plain = pixels(paint(api, "a red circle")[0])
    png, info = paint(api, "a red circle<lora:gone:1><hypernet:h:1><lora:lost>")
    assert pixels(png) == plain
    ignored = info["extra_generation_params"]["Ignored"]
    assert ignored == "<lora:gone:1>, <hypernet:h:1>, <lora:lost>"
    assert "Ignored" not in paint(api, "a red circle<lora:style:1>")[1]["extra_generation_params"]
    assert pixels(paint(api, "a red circle", negative_prompt="<lora:style:1>")[0]) != plain


@pytest.mark.parametrize("tag, says", [
    ("<lora:style:much>", "wanted a strength of -100..100, got 'much'"),
    ("<lora:style:1e9>", "wanted a strength of -100..100"),
    ("<lora:style:0.1>" * 17, "more than 16 LoRAs"),
    ("<lora:broken:1>", "LoRA broken: "),
    ("<lora:other:1>", "LoRA other: 0 of its"),
])
def test_errors(api, tag, says):
    answer = api.request("POST", "txt2img", json={**TINY, "prompt": "a red circle" + tag})
    assert 400 <= answer.status_code <= 500 and says in answer.text, answer.text
    assert "/loras" not in answer.text  # no path of the server
    # The worker lives, and the model is what it was.
    assert paint(api, "a red circle")


def test_other_apis(loras, api):
    styled = pixels(paint(api, "a red circle<lora:style:1>")[0])
    body = {"prompt": "a red circle<lora:style:1>", "size": "64x64", "steps": 2, "seed": 1,
            "guidance_scale": 7, "sampler": "Euler"}
    answer = requests.post(loras.url + "/v1/images/generations", timeout=120,
                           json={**body, "response_format": "b64_json"}).json()
    assert pixels(base64.b64decode(answer["data"][0]["b64_json"])) == styled
    job = requests.post(loras.url + "/api/jobs", timeout=60, json={
        "prompt": "a red circle<lora:style:1>", "width": 64, "height": 64, "steps": 2,
        "seed": 1, "guidance": 7, "sampler": "Euler"}).json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.05)
        job = requests.get(f"{loras.url}/api/jobs/{job['id']}", timeout=60).json()
    assert job["state"] == "done"
    png = requests.get(f"{loras.url}/api/images/{job['images'][0]['id']}", timeout=60).content
    assert pixels(png) == styled


def test_command_line(tmp_path):
    fill(tmp_path / "mine")
    pictures = []
    for prompt in ("a red circle", "a red circle<lora:style:1>", "a red circle<lora:gone:1>"):
        out = tmp_path / "a.png"
        subprocess.run([PROGRAM, "generate", "-q", "-p", prompt, "-o", out, "--steps=2", "--seed=1",
                        "--width=64", "--height=64", f"--loras={tmp_path / 'mine'}"], check=True,
                       cwd=tmp_path)
        pictures.append(pixels(out.read_bytes()))
    assert pictures[0] != pictures[1] and pictures[0] == pictures[2]


def native(server, **fields):
    answer = requests.post(server.url + "/api/jobs", timeout=120, json={
        "prompt": "a red circle", "steps": 2, "width": 64, "height": 64, "seed": 1, **fields})
    if answer.status_code != 202:
        return answer.status_code, answer.json()["error"]
    job = answer.json()
    while job["state"] not in ("done", "failed"):
        time.sleep(0.05)
        job = requests.get(f"{server.url}/api/jobs/{job['id']}", timeout=30).json()
    assert job["state"] == "done", job
    return pixels(requests.get(server.url + job["images"][0]["url"], timeout=30).content), job


def test_lists_are_tags(loras):
    """What a list says is what tags say, in every dialect, and by the names that others use."""
    tagged, _ = native(loras, prompt="a red circle <lora:style:0.25:0.5> <lora:anime/words:1>")
    plain, _ = native(loras)
    assert tagged != plain
    for listed in ([{"name": "style", "weight": 0.5, "text_weight": 0.25}, "anime/words"],
                   [{"lora_name": "style.safetensors", "strength_model": 0.5, "strength_clip": 0.25},
                    {"path": "anime/words.safetensors", "multiplier": 1, "is_high_noise": False}],
                   [{"adapter_name": "style", "scale": 0.5, "text_weight": 0.25}, {"name": "words"}]):
        picture, job = native(loras, loras=listed)
        assert picture == tagged, listed
        assert job["params"]["prompt"].startswith("a red circle <lora:style:0.25:0.5> <lora:")
    assert native(loras, loras=[])[0] == plain and native(loras, loras=None)[0] == plain
    halved, job = native(loras, loras=[{"name": "style", "weight": 0.1}])
    assert job["params"]["prompt"] == "a red circle <lora:style:0.1>"


def test_lists_in_other_dialects(loras, api):
    tag = paint(api, "a red circle <lora:style:0.5>")
    for field in ("loras", "lora"):
        listed = paint(api, "a red circle", **{field: [{"path": "style.safetensors", "multiplier": 0.5}]})
        assert listed[0] == tag[0] and "<lora:style:0.5>" in listed[1]["prompt"]

    def openai(**fields):
        answer = requests.post(loras.url + "/v1/images/generations", timeout=120, json={
            "prompt": "a red circle", "seed": 1, "steps": 2, "size": "64x64", **fields})
        body = answer.json()
        return pixels(base64.b64decode(body["data"][0]["b64_json"])) if "data" in body else body["error"]
    tagged = openai(prompt="a red circle <lora:style:0.5>")
    assert openai(loras=[{"name": "style", "weight": 0.5}]) == tagged != openai()
    assert openai(loras=[{"name": "gone"}])["param"] == "loras"
    form = requests.post(loras.url + "/v1/images/edits", timeout=120, files={
        "image": ("a.png", base64.b64decode(api.post("txt2img", {**TINY})["images"][0]), "image/png")},
        data={"prompt": "a", "steps": "2", "size": "64x64", "loras": '[{"name": "gone"}]'})
    assert form.status_code == 400 and "gone" in form.json()["error"]["message"]


@pytest.mark.parametrize("listed, says", [
    ([{"name": "gone"}], 'loras[0]: there is no LoRA "gone"'), (["style", "gone.pt"], "loras[1]"),
    ("style", "must be a list"), ([1], "an object or a name"), ([{}], "name must be given"),
    ([{"name": ""}], "not empty"), ([{"name": "style", "weight": "1"}], "weight must be a number"),
    ([{"name": "style", "weight": 101}], "-100..100"), ([{"name": "style", "path": "x"}], "a second name"),
    ([{"name": "style", "wieght": 1}], '"wieght"'), ([{"name": "a:b"}], "without ':'"),
    ([{"name": "a>b"}], "without ':'"), ([{"name": "x" * 300}], "at most 199 bytes"),
    ([{"name": "style", "is_high_noise": True}], "must be false"), (["style"] * 1000, "a list of at most")])
def test_lists_that_are_wrong(loras, listed, says):
    status, error = native(loras, loras=listed)
    assert status == 400 and says in error["message"] and error["param"] == "loras", error


def test_unknown_in_a_list_of_the_webuis_api(loras):
    answer = requests.post(loras.url + "/sdapi/v1/txt2img", timeout=60,
                           json={**TINY, "prompt": "a", "lora": [{"path": "gone", "multiplier": 1}]})
    assert answer.status_code == 422 and "gone" in answer.text, answer.text


def test_flag_of_generate(loras, tmp_path):
    def run(*words):
        return subprocess.run([PROGRAM, "generate", f"--data={loras.folder}/data", "-p", "a red circle", "-q",
                               "--steps=2", "--width=64", "--height=64", "--seed=1", "-o", tmp_path / "o.png",
                               *words], capture_output=True, text=True, timeout=120)
    done = run("--lora", "style:0.5", "--lora", "anime/words:0.5:1")
    assert done.returncode == 0, done.stderr
    with_flags = (tmp_path / "o.png").read_bytes()
    assert run("-p", "a red circle <lora:style:0.5> <lora:anime/words:0.5:1.0>").returncode == 0
    assert pixels(with_flags) == pixels((tmp_path / "o.png").read_bytes())
    for words, says in (("gone", 'no LoRA "gone"'), ("style:x", "wanted a strength"), ("", "NAME:WEIGHT"),
                        ("a>b", "NAME:WEIGHT")):
        done = run("--lora", words)
        assert done.returncode != 0 and says in done.stderr, done.stderr


def test_names_that_trainers_gave(serve):
    """As in the WebUI: `ss_output_name` answers where no file is called so; two of a name are nobody's."""
    server = serve()
    folder = server.folder / "data" / "loras"
    for file, alias in (("one", "nick"), ("two", "both"), ("three", "both"), ("four", "one"), ("five", "")):
        write_lora(folder / f"{file}.safetensors", "lora_unet_", UNET, "attn2.to_v", len(file) + len(alias),
                   {"ss_output_name": alias} if alias else None)
    api = Sdapi(server.url)
    listed = {x["name"]: x for x in api.get("loras")}
    assert {n: x["alias"] for n, x in listed.items()} == {
        "one": "nick", "two": "both", "three": "both", "four": "one", "five": "five"}
    assert listed["one"]["metadata"]["ss_output_name"] == "nick"
    plain = pixels(paint(api, "a red circle")[0])
    one = pixels(paint(api, "a red circle <lora:one:1>")[0])
    picture, info = paint(api, "a red circle <lora:nick:1>")
    assert pixels(picture) == one != plain and "Ignored" not in info["extra_generation_params"]
    picture, info = paint(api, "a red circle <lora:both:1>")
    assert pixels(picture) == plain and "<lora:both:1>" in info["extra_generation_params"]["Ignored"]
    assert native(server, loras=["nick"])[0] == native(server, loras=["one"])[0]
    assert native(server, loras=["both"])[0] == 400
    done = subprocess.run([PROGRAM, "generate", f"--data={server.folder}/data", "-p", "a red circle", "-q",
                           "--steps=2", "--width=64", "--height=64", "--seed=1", "--lora=nick", "-o",
                           server.folder / "o.png"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
