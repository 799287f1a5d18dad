"""A network that can be cut: a TCP proxy for one way between two machines."""
import selectors
import socket
import struct
import threading


class Gate:
    """Passes on what comes to `port` to `target`. `cut`: every connection is reset, and none opens.
    `stall`: they stay open and nothing goes through, as with a cable pulled out."""

    def __init__(self, target):
        self.target = target
        self.mode = "pass"
        self.pairs = {}  # socket -> its other end
        self.waiting = {}  # socket -> bytes that it is to be sent
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.wake, self.woken = socket.socketpair()
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.open = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def set(self, mode):
        self.mode = mode
        self.wake.send(b"x")

    def close(self):
        self.open = False
        self.wake.send(b"x")
        self.thread.join(10)

    def drop(self, one):
        for end in (one, self.pairs.pop(one, None)):
            if end is None:
                continue
            self.pairs.pop(end, None)
            self.waiting.pop(end, None)
            try:
                self.selector.unregister(end)
            except (KeyError, ValueError):
                pass
            # RST, as from a machine that knows nothing of the connection.
            if end.fileno() >= 0:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()

    def accept(self):
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[one], self.waiting[one] = other, b""
            self.selector.register(one, selectors.EVENT_READ)

    def move(self, one, events):
        if events & selectors.EVENT_WRITE:
            sent = one.send(self.waiting[one])
            self.waiting[one] = self.waiting[one][sent:]
            if not self.waiting[one]:
                self.selector.modify(one, selectors.EVENT_READ)
        if events & selectors.EVENT_READ:
            data = one.recv(65536)
            other = self.pairs[one]
            if not data:
                if not self.waiting[other]:
                    other.shutdown(socket.SHUT_WR)
                self.drop(one)
                return
            self.waiting[other] += data
            self.selector.modify(other, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def run(self):
        while self.open:
            for key, events in self.selector.select(1):
                if key.fileobj is self.woken:
                    self.woken.recv(4096)
            if self.mode == "cut":
                for one in list(self.pairs):
                    self.drop(one)
            if self.mode == "stall":
                threading.Event().wait(0.02)
                continue
            for key, events in self.selector.select(0):
                one = key.fileobj
                try:
                    if one is self.listener and self.mode == "cut":
                        client, _ = self.listener.accept()
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
                        client.close()
                    elif one is self.listener:
                        self.accept()
                    elif one in self.pairs:
                        self.move(one, events)
                except BlockingIOError:
                    pass
                except OSError:
                    if one is not self.listener:
                        self.drop(one)
        for one in list(self.pairs):
            self.drop(one)
        self.listener.close()
