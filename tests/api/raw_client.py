"""A connection that says just what it is told, and requests to say on it."""
import json
import socket

from openai_client import TINY

BODY = json.dumps(TINY).encode()


class Raw:
    """A connection that says just what it is told."""

    def __init__(self, server, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def more(self):
        data = self.socket.recv(65536)
        self.rest += data
        return data

    def head(self):
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                raise EOFError
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        return int(lines[0].split()[1]), {
            k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}

    def answer(self):
        status, headers = self.head()
        size = int(headers["content-length"])
        while len(self.rest) < size:
            assert self.more()
        body, self.rest = self.rest[:size], self.rest[size:]
        return status, headers, body

    def closed(self):
        try:
            while self.more():
                pass
            return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def post(path, body=BODY, headers=b"Content-Type: application/json\r\n", length=None):
    length = len(body) if length is None else length
    return (b"POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n"
            % (path.encode(), headers, length) + body)


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


CHUNKED = (b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
           b"Transfer-Encoding: chunked\r\n\r\n")
