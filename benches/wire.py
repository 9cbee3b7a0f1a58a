"""PostgreSQL's protocol as far as the loads need it that libpq is too slow for: SCRAM once derived, results unread."""

import asyncio
import base64
import functools
import hashlib
import hmac
import secrets
import socket
import struct

from clusters import PASSWORD, ROLE
from processes import Failure

PROTOCOL = 3 << 16
READY_AND_IDLE = b"Z\0\0\0\x05I"
CHUNK = 1 << 20


def startup(environment):
    fields = {"user": ROLE, "database": environment["PGDATABASE"]}
    if "PGOPTIONS" in environment:
        fields["options"] = environment["PGOPTIONS"]
    body = b"".join(part.encode() + b"\0" for pair in fields.items() for part in pair) + b"\0"
    return struct.pack("!II", len(body) + 8, PROTOCOL) + body


def message(tag, body):
    return tag + struct.pack("!I", len(body) + 4) + body


def query(text):
    return message(b"Q", text.encode() + b"\0")


@functools.lru_cache
def derived(salt, iterations):
    """Thousands of clients with one password: what libpq would work out for each of them."""
    return hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)


class Scram:
    """SCRAM-SHA-256, the client's side."""

    def first(self):
        self.bare = f"n=,r={base64.b64encode(secrets.token_bytes(18)).decode()}"
        said = f"n,,{self.bare}".encode()
        return message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(said)) + said)

    def proof(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = derived(base64.b64decode(fields["s"]), int(fields["i"]))
        client = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{challenge.decode()},{final}".encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        return message(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode())


def login(environment):
    """A generator: yields what to send, is sent each message (tag, body) of the server's."""
    scram, answer = Scram(), startup(environment)
    while True:
        tag, body = yield answer
        answer = b""
        if tag == b"E":
            raise Failure(f"the login failed: {body.decode(errors='replace')}")
        if tag == b"Z":
            return
        if tag == b"R":
            kind = struct.unpack("!I", body[:4])[0]
            if kind == 10:
                answer = scram.first()
            elif kind == 11:
                answer = scram.proof(body[4:])
            elif kind not in (0, 12):
                raise Failure(f"the server asks for authentication {kind} instead of SCRAM")


class Reader:
    """One client that reads as fast as it can and looks at the end only."""

    def __init__(self, environment, seconds):
        self.socket = socket.create_connection((environment["PGHOST"], int(environment["PGPORT"])), seconds)
        self.file = self.socket.makefile("rb")
        steps = login(environment)
        self.socket.sendall(next(steps))
        try:
            while True:
                tag, length = struct.unpack("!cI", self.file.read(5))
                answer = steps.send((tag, self.file.read(length - 4)))
                if answer:
                    self.socket.sendall(answer)
        except StopIteration:
            pass

    def drain(self, text):
        """How many bytes the answer to a query has."""
        self.socket.sendall(query(text))
        buffer, count, end = bytearray(CHUNK), 0, b""
        while end != READY_AND_IDLE:
            got = self.socket.recv_into(buffer)
            if not got:
                raise Failure("the server closed the connection during a result")
            if not count and buffer[:1] == b"E":
                raise Failure(bytes(buffer[:got]).decode(errors="replace"))
            count += got
            size = len(READY_AND_IDLE)
            end = bytes(buffer[max(got - size, 0):got]) if got >= size else (end + bytes(buffer[:got]))[-size:]
        return count

    def close(self):
        self.socket.sendall(message(b"X", b""))
        self.file.close()
        self.socket.close()


class Idler:
    """One of thousands of clients."""

    async def open(self, environment):
        self.reader, self.writer = await asyncio.open_connection(
            environment["PGHOST"], int(environment["PGPORT"]), limit=1 << 14
        )
        steps = login(environment)
        self.writer.write(next(steps))
        try:
            while True:
                answer = steps.send(await self.message())
                if answer:
                    self.writer.write(answer)
        except StopIteration:
            return self

    async def message(self):
        tag, length = struct.unpack("!cI", await self.reader.readexactly(5))
        return tag, await self.reader.readexactly(length - 4)

    async def ask(self, text):
        self.writer.write(query(text))
        while True:
            tag, body = await self.message()
            if tag == b"E":
                raise Failure(body.decode(errors="replace"))
            if tag == b"Z":
                return

    def close(self):
        self.writer.write(message(b"X", b""))
        self.writer.close()
