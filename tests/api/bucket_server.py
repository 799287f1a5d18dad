"""An S3 server for tests: moto's, in a thread of this process, behind a gate that holds every
signature against botocore's own and lets a test decide what goes wrong."""
import hashlib
import io
import itertools
import threading
import time
import traceback
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"


NUMBERS = itertools.count(1)  # moto keeps what it has for the whole process


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


def url_of(environ):
    return f"http://{environ['HTTP_HOST']}{environ['REQUEST_URI']}"


def headers_of(environ):
    found = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
    for name in "CONTENT_TYPE", "CONTENT_LENGTH":
        if environ.get(name):
            found[name.replace("_", "-").lower()] = environ[name]
    return found


def fault_of_header(environ, body):
    """What is wrong with the signature in the headers; None: nothing."""
    headers = headers_of(environ)
    word, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(f.strip().split("=", 1) for f in rest.split(",") if "=" in f)
    if word != "AWS4-HMAC-SHA256" or "SignedHeaders" not in fields:
        return "not signed"
    if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
        return "the hash is not the body's"
    names = fields["SignedHeaders"].split(";")
    amz = [n for n in headers if n.startswith("x-amz-")]
    if "host" not in names or not set(amz) <= set(names):
        return f"not all of {amz} are signed: {names}"
    request = botocore.awsrequest.AWSRequest(
        method=environ["REQUEST_METHOD"], url=url_of(environ), data=body,
        headers={n: headers[n] for n in names})
    return compare(botocore.auth.S3SigV4Auth, request, headers["x-amz-date"], fields["Signature"])


def fault_of_query(environ):
    """The same of a link."""
    address, _, query = url_of(environ).partition("?")
    rest, _, signature = query.rpartition("&X-Amz-Signature=")
    values = dict(urllib.parse.parse_qsl(query))
    age = time.time() - time.mktime(time.strptime(values["X-Amz-Date"], "%Y%m%dT%H%M%SZ")) + time.timezone
    if age > int(values["X-Amz-Expires"]):
        return "expired"
    request = botocore.awsrequest.AWSRequest(
        method=environ["REQUEST_METHOD"], url=f"{address}?{rest}",
        headers={"host": environ["HTTP_HOST"]})
    return compare(botocore.auth.S3SigV4QueryAuth, request, values["X-Amz-Date"], signature)


def compare(kind, request, when, signature):
    auth = kind(botocore.credentials.Credentials(KEY, SECRET), "s3", REGION)
    request.context["timestamp"] = when
    canonical = auth.canonical_request(request)
    wanted = auth.signature(auth.string_to_sign(request, canonical), request)
    return None if wanted == signature else f"wanted {wanted}, got {signature} of {canonical!r}"


def error(status, code, start_response):
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as asked</Message></Error>"
    start_response(f"{status} {code}", [("Content-Type", "application/xml"),
                                        ("Content-Length", str(len(text)))])
    return [text.encode()]


class BucketServer:
    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)
        self.faults = []    # of signatures
        self.requests = []  # (method, path with query)
        self.break_with = None  # (status, code) for what `breaks` says
        self.breaks = lambda method, path: True
        self.left = None  # how often; None: always
        self.delay = 0
        self.lock = threading.Lock()
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True, request_handler=Quiet)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.client = boto3.client("s3", endpoint_url=self.url, region_name=REGION,
                                   aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                                   config=botocore.config.Config(proxies={}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def heal(self):
        self.break_with, self.left, self.delay = None, None, 0
        self.breaks = lambda method, path: True

    def bucket(self):
        """A new one: its name."""
        name = f"pictures-{next(NUMBERS)}"
        self.client.create_bucket(Bucket=name,
                                  CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def flags(self, bucket, prefix=""):
        return [f"--blobs=s3://{bucket}{prefix}?endpoint={self.url}&region={REGION}"]

    def env(self):
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def names(self, bucket, prefix=""):
        listed = self.client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return sorted(o["Key"] for o in listed.get("Contents", []) if o["Key"] != "probe")

    def read(self, bucket, name):
        return self.client.get_object(Bucket=bucket, Key=name)["Body"].read()

    def answer(self, environ, start_response):
        try:
            return self.serve(environ, start_response)
        except Exception:
            self.faults.append(traceback.format_exc())
            return error(403, "TheTestIsBroken", start_response)

    def serve(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        ours = headers_of(environ).get("user-agent", "").startswith("pictor/")
        linked = "X-Amz-Signature=" in path
        if not ours and not linked:
            return self.app(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            body = environ["wsgi.input"].read(length)
        except ConnectionError:  # a server was killed while it sent
            return error(400, "IncompleteBody", start_response)
        with self.lock:
            self.requests.append((method, path))
            broken = self.break_with if self.break_with and self.breaks(method, path) else None
            if broken and self.left is not None:
                self.left -= 1
                broken = broken if self.left >= 0 else None
        if self.delay:
            time.sleep(self.delay)
        if broken:
            return error(*broken, start_response)
        fault = fault_of_query(environ) if linked else fault_of_header(environ, body)
        if fault:
            self.faults.append(fault)
            return error(403, "SignatureDoesNotMatch", start_response)

        environ["wsgi.input"] = io.BytesIO(body)
        return self.app(environ, start_response)
