"""LangChain: its wrapper of DALL-E and the tool made of it, and its chat model, which makes pictures
by the tool image_generation. With what it needs it is 100 MB large, so this is no test for every day."""
import os
import subprocess
import sys

from conftest import ROOT

VERSIONS = {"langchain-community": "0.4.2", "langchain-openai": "1.7.4"}
SCRIPT = '''
import os, sys, urllib.request
from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper
from langchain_openai import ChatOpenAI

def is_png(link):
    assert link.startswith(sys.argv[1]), link
    return urllib.request.urlopen(link).read()[1:4] == b"PNG"

# As its guide has it: the environment says where and with which key.
assert is_png(DallEAPIWrapper(size="64x64").run("a red cube"))
tool = OpenAIDALLEImageGenerationTool(api_wrapper=DallEAPIWrapper(
    model="dall-e-3", n=2, size="64x64", quality="hd", separator=" "))
links = tool.run("a red cube").split(" ")
assert len(set(links)) == 2 and all(is_png(link) for link in links)

chat = ChatOpenAI(model="gpt-5", base_url=sys.argv[1] + "/v1", use_responses_api=True)
painter = chat.bind_tools([{"type": "image_generation", "quality": "low", "size": "64x64"}])
calls = [block for block in painter.invoke("a red cube").content
         if block["type"] == "image_generation_call"]
assert len(calls) == 1 and calls[0]["result"].startswith("iVBOR")
plain = ChatOpenAI(model="pictor-mini", base_url=sys.argv[1] + "/v1",
                   extra_body={"size": "64x64"}).invoke("a red cube")
assert plain.content.startswith("![a red cube](data:image/png;base64,iVBOR")
'''


def test_langchain(server):
    folder = ROOT / "build" / "python" / "-".join(["langchain", *VERSIONS.values()])
    if not (folder / "langchain_openai").exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder,
                        *[f"{name}=={version}" for name, version in VERSIONS.items()]], check=True,
                       timeout=500)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url], capture_output=True, text=True, timeout=500,
        env={**os.environ, "PYTHONPATH": str(folder), "OPENAI_API_KEY": "sk-none",
             "OPENAI_API_BASE": server.url + "/v1"})
    assert done.returncode == 0, done.stderr[-3000:]
