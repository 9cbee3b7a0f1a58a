"""A tap on psql's connection, to tell what only veneer refuses from what then differs by itself.

In front of veneer it notes each statement that veneer itself refuses. In front of PostgreSQL it
lets just these statements fail in the same words; all else that a script prints must then be the
same on both.
"""

import contextlib
import socket
import struct
import threading
from collections import Counter

QUERY, ERROR, READY = b"Q", b"E", b"Z"
BYTES_AT_ONCE = 1 << 16


class Tap:
    """`refused` is filled in front of veneer, and given in front of PostgreSQL."""

    def __init__(self, port, refused=None):
        self.port = port
        self.given = refused
        # For each connection of the script: the number of the statement, its text, the error.
        self.refused = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = []

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)

    @property
    def listening(self):
        return self.listener.getsockname()[1]

    def kinds(self):
        """How often veneer said what."""
        return Counter(fields["M"] for connection in self.refused for _, _, fields in connection)

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                asked = []
                noted = []
                number = len(self.refused)
                self.refused.append(noted)
                given = self.given[number] if self.given and number < len(self.given) else []
                known = {(at, text): fields for at, text, fields in given}
                self._start(self._up, client, server, asked, known)
                self._start(self._down, server, client, asked, noted)

    def _up(self, client, server, asked, known):
        with closing(client, server), client.makefile("rb") as stream:
            length = stream.read(4)
            server.sendall(length + stream.read(int.from_bytes(length) - 4))
            count = 0
            for kind, body in messages(stream):
                if kind == QUERY:
                    count += 1
                    statement = (count, body[:-1])
                    asked.append(statement)
                    if statement in known:
                        body = failing(known[statement])
                server.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _down(self, server, client, asked, noted):
        with closing(client, server), server.makefile("rb") as stream:
            for kind, body in messages(stream):
                if kind == ERROR and asked:
                    fields = {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}
                    # PostgreSQL names the routine that has failed; veneer has none.
                    if "R" not in fields:
                        noted.append((*asked[0], fields))
                elif kind == READY and asked:
                    asked.pop(0)
                client.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def failing(fields):
    """A statement that fails with this error and does nothing else."""
    options = {"M": "MESSAGE", "C": "ERRCODE", "D": "DETAIL", "H": "HINT"}
    using = ", ".join(f"{options[key]} = {literal(fields[key])}" for key in options if key in fields)
    return f"DO LANGUAGE plpgsql {literal(f'BEGIN RAISE USING {using}; END')}".encode() + b"\0"


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def messages(stream):
    with contextlib.suppress(OSError):
        while len(head := stream.read(5)) == 5:
            length = int.from_bytes(head[1:]) - 4
            body = stream.read(length)
            if len(body) == length:
                yield head[:1], body


@contextlib.contextmanager
def closing(*ends):
    try:
        yield
    except OSError:
        pass
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
