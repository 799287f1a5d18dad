"""LiteLLM, through which many programs and gateways ask for pictures. It is 350 MB large, so this is
no test for every day."""
import os
import subprocess
import sys

from conftest import ROOT

VERSION = "1.110.2"
SCRIPT = '''
import io, sys
import litellm
sys.path.insert(0, sys.argv[2])
from openai_client import gradient, png

base = sys.argv[1]
there = {"api_base": base + "/v1", "api_key": "x"}
picture = lambda answer: answer.data[0].b64_json or answer.data[0].url
prompt, messages = "a red cube", [{"role": "user", "content": "a red cube"}]

made = litellm.image_generation(model="openai/gpt-image-1", prompt=prompt, **there)
assert picture(made).startswith("iVBOR")
assert picture(litellm.image_generation(model="openai/dall-e-3", prompt=prompt, size="1024x1024",
                                        **there)).startswith(base)
file = io.BytesIO(png(gradient()))
file.name = "a.png"
assert picture(litellm.image_edit(model="openai/gpt-image-1", image=[file], prompt=prompt,
                                  **there)).startswith("iVBOR")
message = litellm.completion(model="openai/pictor-mini", messages=messages, **there).choices[0].message
assert message.content.startswith("![a red cube](data:image/png;base64,iVBOR")
assert message.images[0]["image_url"]["url"] in message.content
parts = litellm.completion(model="openai/pictor-mini", messages=messages, stream=True, **there)
assert "".join(part.choices[0].delta.content or "" for part in parts).startswith("![a red cube](")
answer = litellm.responses(model="openai/gpt-5", input=prompt, tools=[
    {"type": "image_generation", "size": "1024x1024"}], **there)
assert answer.output[0].type == "image_generation_call" and answer.output[0].result
azure = litellm.image_generation(model="azure/dall-e-3", prompt=prompt, api_base=base, api_key="x",
                                 api_version="2024-02-01")
assert picture(azure).startswith(base)
'''


def test_litellm(server):
    folder = ROOT / "build" / "python" / f"litellm-{VERSION}"
    if not (folder / "litellm").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder,
                        f"litellm=={VERSION}"], check=True, timeout=500)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url, ROOT / "tests" / "api"], capture_output=True,
        text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"})
    assert done.returncode == 0, done.stderr[-3000:]
