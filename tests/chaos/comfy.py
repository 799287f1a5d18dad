"""A stand-in for ComfyUI: its routes, its checks of a workflow, its queue and history, in the shapes
of its server.py and execution.py; what it paints is a picture of one colour."""
import base64
import hashlib
import io
import json
import re
import struct
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlparse

from PIL import Image
from processes import Listening

INPUTS = {  # what a node must have, and of which kind
    "CheckpointLoaderSimple": {"ckpt_name": str},
    "CLIPTextEncode": {"text": str, "clip": list},
    "EmptyLatentImage": {"width": int, "height": int, "batch_size": int},
    "KSampler": {"seed": int, "steps": int, "cfg": float, "sampler_name": str, "scheduler": str,
                 "denoise": float, "model": list, "positive": list, "negative": list,
                 "latent_image": list},
    "VAEDecode": {"samples": list, "vae": list},
    "VAEEncode": {"pixels": list, "vae": list},
    "LoadImage": {"image": str},
    "LoadImageMask": {"image": str, "channel": str},
    "SetLatentNoiseMask": {"samples": list, "mask": list},
    "SaveImage": {"images": list, "filename_prefix": str},
}
SAMPLERS = {"euler", "euler_ancestral", "dpmpp_2m", "ddim", "uni_pc"}
SCHEDULERS = {"normal", "karras", "exponential", "simple"}


def text_to_image():
    return {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": "%seed%", "steps": "%steps:12%", "cfg": "%cfg%", "sampler_name": "%sampler%",
            "scheduler": "%scheduler%", "denoise": "%denoise%", "model": ["4", 0],
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "%model%"}},
        "5": {"class_type": "EmptyLatentImage",
              "inputs": {"width": "%width%", "height": "%height%", "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode",
              "inputs": {"text": "%prompt%, 100% fine", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode",
              "inputs": {"text": "%negative_prompt:ugly%", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "_meta": {"title": "Save"},
              "inputs": {"filename_prefix": "pictor", "images": ["8", 0]}}}


def paint_over():
    flow = text_to_image()
    flow["10"] = {"class_type": "LoadImage", "inputs": {"image": "%init_image%"}}
    flow["11"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
    flow["12"] = {"class_type": "LoadImageMask", "inputs": {"image": "%mask%", "channel": "red"}}
    flow["5"] = {"class_type": "SetLatentNoiseMask",
                 "inputs": {"samples": ["11", 0], "mask": ["12", 0]}}
    return flow


class Comfy(Listening):
    def __init__(self, checkpoints=("v1-5.safetensors",), seconds=0.0):
        self.checkpoints, self.seconds = list(checkpoints), seconds
        self.requests, self.files, self.pictures = [], {}, {}
        self.history, self.pending, self.interrupted = {}, [], []
        self.numbers, self.sockets, self.speaks = {}, {}, True
        self.fails = None  # the text of an exception in the next run
        self.trouble = {}  # path: (status, body) instead of what it would say
        comfy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status, body, kind="application/json"):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", len(body))
                self.end_headers()
                self.wfile.write(body)

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlparse(self.path)
                comfy.requests.append((self.command, self.path, dict(self.headers.items()), body))
                if url.path in comfy.trouble:
                    return self.reply(*comfy.trouble[url.path])
                call = {("POST", "/prompt"): comfy.prompt, ("POST", "/upload/image"): comfy.upload,
                        ("POST", "/queue"): comfy.queue, ("POST", "/interrupt"): comfy.interrupt,
                        }.get((self.command, url.path))
                if call:
                    return self.reply(*call(body, self.headers))
                if url.path == "/ws" and comfy.speaks:
                    return comfy.socket(self, parse_qs(url.query)["clientId"][0])
                if url.path == "/queue":
                    entries = [[comfy.numbers[run], run, {}, {}, ["9"]] for run in comfy.pending]
                    return self.reply(200, {"queue_running": entries[:1],
                                            "queue_pending": entries[:0:-1]})  # a heap: in no order
                if url.path.startswith("/history/"):
                    run = url.path.split("/")[2]
                    return self.reply(200, {run: comfy.history[run]} if run in comfy.history else {})
                if url.path == "/models/checkpoints":
                    return self.reply(200, comfy.checkpoints)
                if url.path == "/view":
                    asked = {k: v[0] for k, v in parse_qs(url.query, True).items()}
                    data = comfy.pictures.get(
                        (asked.get("filename"), asked.get("subfolder"), asked.get("type")))
                    return self.reply(200, data, "image/png") if data else self.reply(404, b"")
                return self.reply(404, b"404: Not Found")

            do_GET = do_POST = handle_any

            def log_message(self, *args):
                pass

        self.listen(Handler)

    def graphs(self):
        return [json.loads(body)["prompt"] for method, path, _, body in self.requests
                if path == "/prompt"]

    # ---- what it checks (validate_prompt) ----

    def fault_of(self, graph, number, node):
        wanted = INPUTS.get(node.get("class_type"))
        if wanted is None:
            return "invalid_prompt", f"Cannot execute because node {node.get('class_type')} does not exist."
        for name, kind in wanted.items():
            value = node["inputs"].get(name)
            if value is None:
                return "required_input_missing", name
            if kind is list and not (isinstance(value, list) and value[0] in graph):
                return "bad_linked_input", name
            if kind in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, kind))):
                return "invalid_input_type", f"{name}, {value}, invalid literal"
        inputs = node["inputs"]
        for name, known in (("ckpt_name", self.checkpoints), ("sampler_name", SAMPLERS),
                            ("scheduler", SCHEDULERS)):
            if name in inputs and inputs[name] not in known:
                return "value_not_in_list", f"{name}: '{inputs[name]}' not in {sorted(known)}"
        if node["class_type"].startswith("LoadImage") and inputs["image"] not in self.files:
            return "custom_validation_failed", f"image - Invalid image file: {inputs['image']}"
        return None

    def prompt(self, body, headers):
        try:
            asked = json.loads(body)
        except ValueError:
            return 400, {"error": {"type": "no_prompt", "message": "No prompt provided",
                                   "details": "No prompt provided", "extra_info": {}},
                         "node_errors": {}}
        graph, errors = asked["prompt"], {}
        for number, node in graph.items():
            fault = self.fault_of(graph, number, node)
            if fault:
                errors[number] = {"class_type": node.get("class_type"), "dependent_outputs": ["9"],
                                  "errors": [{"type": fault[0], "message": fault[0].replace("_", " "),
                                              "details": fault[1], "extra_info": {}}]}
        if errors:
            return 400, {"error": {"type": "prompt_outputs_failed_validation",
                                   "message": "Prompt outputs failed validation", "details": "",
                                   "extra_info": {}}, "node_errors": errors}
        run = str(uuid.uuid4())
        self.numbers[run] = len(self.numbers)
        self.pending.append(run)
        threading.Thread(target=self.work, args=(run, graph, asked.get("client_id")), daemon=True).start()
        return 200, {"prompt_id": run, "number": self.numbers[run], "node_errors": {}}

    def add_stranger(self):
        """A run of somebody else's, which does not end by itself."""
        run = str(uuid.uuid4())
        self.numbers[run] = len(self.numbers)
        self.pending.append(run)
        return run

    def socket(self, handler, client):
        accept = base64.b64encode(hashlib.sha1((
            handler.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert handler.headers["Upgrade"] == "websocket" and handler.headers["Sec-WebSocket-Version"] == "13"
        handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            b"Connection: upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self.sockets[client] = handler.wfile
        self.say(client, "status", {"status": {"exec_info": {"queue_remaining": len(self.pending)}}, "sid": client})
        handler.close_connection = True
        handler.rfile.read(1)  # until the client goes away
        self.sockets.pop(client, None)

    def frame(self, client, kind, data):
        size = len(data)
        head = bytes([0x80 | kind]) + (bytes([size]) if size < 126 else struct.pack(">BH", 126, size)
                                       if size < 65536 else struct.pack(">BQ", 127, size))
        try:
            self.sockets[client].write(head + data)
        except (KeyError, OSError, ValueError):
            pass

    def say(self, client, kind, data):
        self.frame(client, 1, json.dumps({"type": kind, "data": data}).encode())

    def work(self, run, graph, client):
        while run in self.pending and self.pending[0] != run:
            time.sleep(0.02)
        self.say(client, "execution_start", {"prompt_id": run, "timestamp": 1})
        steps = next((n["inputs"]["steps"] for n in graph.values() if n["class_type"] == "KSampler"), 1)
        begun, step = time.monotonic(), 0
        while time.monotonic() < begun + self.seconds:
            time.sleep(0.02)
            if run not in self.pending:
                break
            while step < steps * (time.monotonic() - begun) / self.seconds - 1:
                step += 1
                self.say(client, "progress", {"value": step, "max": steps, "prompt_id": run, "node": "3"})
                out = io.BytesIO()
                Image.new("RGB", (16, 16), (0, 200, 0)).save(out, "JPEG")
                self.frame(client, 2, struct.pack(">II", 1, 1) + out.getvalue())
        messages = [["execution_start", {"prompt_id": run, "timestamp": 1}]]
        outputs, word = {}, "success"
        if run not in self.pending:
            word = "error"
            messages.append(["execution_interrupted", {"prompt_id": run, "node_id": "3"}])
        elif self.fails:
            word = "error"
            messages.append(["execution_error", {
                "prompt_id": run, "node_id": "3", "node_type": "KSampler", "executed": [],
                "exception_message": self.fails, "exception_type": "RuntimeError",
                "traceback": [], "current_inputs": {}, "current_outputs": []}])
        else:
            seed = next(n["inputs"]["seed"] for n in graph.values() if n["class_type"] == "KSampler")
            size = next((n["inputs"] for n in graph.values()
                         if n["class_type"] == "EmptyLatentImage"), {"width": 64, "height": 64})
            out = io.BytesIO()
            Image.new("RGB", (size["width"], size["height"]), (seed % 256, 0, 0)).save(out, "PNG")
            name = f"pictor_{len(self.pictures):05} ü&_.png"
            self.pictures[name, "sub dir", "output"] = out.getvalue()
            outputs["9"] = {"images": [{"filename": name, "subfolder": "sub dir", "type": "output"}]}
            messages.append(["execution_success", {"prompt_id": run, "timestamp": 2}])
        if run in self.pending:
            self.pending.remove(run)
        self.history[run] = {
            "prompt": [0, run, graph, {"client_id": "pictor"}, ["9"]], "outputs": outputs,
            "status": {"status_str": word, "completed": word == "success", "messages": messages},
            "meta": {}}
        self.say(client, "executing", {"node": None, "prompt_id": run})

    def upload(self, body, headers):
        boundary = re.search("boundary=(.*)", headers["Content-Type"])[1].encode()
        parts = {}
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, value = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="(.*?)"', head)[1].decode()
            parts[name] = value[:-2]
            if b"filename=" in head:
                parts["filename"] = re.search(rb'filename="(.*?)"', head)[1].decode()
        if "image" not in parts or parts.get("type") != b"input":
            return 400, b""
        self.files[parts["filename"]] = parts["image"]
        return 200, {"name": parts["filename"], "subfolder": "", "type": "input"}

    def queue(self, body, headers):
        for run in json.loads(body).get("delete", []):
            if run in self.pending[1:]:
                self.pending.remove(run)
        return 200, b""

    def interrupt(self, body, headers):
        run = json.loads(body).get("prompt_id")
        self.interrupted.append(run)
        if self.pending and run in (None, self.pending[0]):
            self.pending.pop(0)
        return 200, b""
