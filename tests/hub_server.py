"""A Hub on the loopback: the parts of its HTTP API that publishing and loading a model take, kept in memory.

Large files come in one piece or in parts (Git LFS), or by Xet, whose storage is then the one that hf_xet itself holds
in a folder; the Hub gives out its address and knows each file by the shards that the client leaves there.
"""

import base64
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

TOKEN = "hf_aSecretThatNoOutputMayHold"


@dataclass(frozen=True)
class Pointer:
    """A file that is in the Xet storage."""

    sha256: str
    size: int
    xet_hash: str

    def __len__(self) -> int:
        return self.size


@dataclass
class Repo:
    private: bool
    commits: list[dict[str, bytes | Pointer]] = field(
        default_factory=lambda: [{".gitattributes": b""}]
    )  # path -> content

    @property
    def files(self) -> dict[str, bytes | Pointer]:
        return self.commits[-1]

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"

    def at(self, revision: str | None) -> "Repo":
        """As it was at a commit; at any other revision, as it is."""
        old = re.fullmatch(r"[0-9a-f]{40}", revision or "") and int(revision, 16) <= len(self.commits)
        return Repo(self.private, self.commits[: int(revision, 16)]) if old else self


class Hub:
    def __init__(self, part: int | None = None, xet: Path | None = None):
        """`part`: bytes of a part of a large file; None: one piece. `xet`: the folder of the Xet storage."""
        self.part, self.xet = part, xet
        self.parts: dict[str, dict[int, bytes]] = {}  # by SHA-256 and number
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # by SHA-256
        self.puts: list[str] = []  # SHA-256 of every large upload, or part of one, that was begun
        self.hang_at: int | None = None  # the number of the upload that never ends
        self.hangs = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value=None, status: int = 200, headers: dict[str, str] | None = None, body: bytes | None = None):
        body = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        for name, content in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, content)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        path = unquote(urlparse(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if match := re.fullmatch(r"/complete/(.+)", path):  # signed by its address, as on the Hub
            return self.complete(match[1], json.loads(body)["parts"])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Unauthorized"}, 401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            return self.preupload(self.hub.repos[match[1]], json.loads(body)["files"])
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self.batch(json.loads(body)["objects"])
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            return self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self.answer({"error": "not known here"}, 404)

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.hub.repos:
            return self.answer({"error": "it exists", "url": f"{self.hub.url}/{name}"}, 409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repos[name] = Repo(bool(private))
        return self.answer({"url": f"{self.hub.url}/{name}"})

    def preupload(self, repo: Repo, files):
        def of(file):
            large, there = file["path"].endswith(".safetensors"), repo.files.get(file["path"])
            oid = None if there is None else (oid_of(there) if large else git_sha1(there))
            mode = "lfs" if large else "regular"
            return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

        self.answer({"files": [of(file) for file in files]})

    def batch(self, objects):
        def of(one):
            known = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] in self.hub.large:
                return known
            if self.hub.part is None:
                return known | {"actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}}
            numbers = range(1, -(-one["size"] // self.hub.part) + 1)
            header = {str(n): f"{self.hub.url}/large/{one['oid']}?part={n}" for n in numbers}
            header["chunk_size"] = str(self.hub.part)
            complete = {"href": f"{self.hub.url}/complete/{one['oid']}", "header": header}
            return known | {"actions": {"upload": complete}}

        self.answer({"objects": [of(one) for one in objects]})

    def complete(self, oid: str, parts):
        there = self.hub.parts.pop(oid)
        assert parts == [{"partNumber": n, "etag": etag(content)} for n, content in sorted(there.items())]
        self.hub.large[oid] = b"".join(content for _, content in sorted(there.items()))
        assert sha256(self.hub.large[oid]) == oid
        self.answer({})

    def do_PUT(self):
        address = urlparse(self.path)
        oid = address.path.rpartition("/")[2]
        self.hub.puts.append(oid)
        if len(self.hub.puts) == self.hub.hang_at:
            self.rfile.read(1000)  # of megabytes
            self.hub.hangs.set()
            return None
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.part is None:
            assert sha256(content) == oid
            self.hub.large[oid] = content
        else:
            self.hub.parts.setdefault(oid, {})[int(parse_qs(address.query)["part"][0])] = content
        return self.answer({}, headers={"ETag": etag(content)})

    def commit(self, name: str, lines):
        repo = self.hub.repos[name]
        files = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large(value["oid"], value["size"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        self.answer({"commitUrl": f"{self.hub.url}/{name}/commit/{repo.sha}", "commitOid": repo.sha})

    def large(self, oid: str, size: int) -> bytes | Pointer:
        if self.hub.xet is None:
            return self.hub.large[oid]
        return Pointer(oid, size, xet_hash(self.hub.xet, oid))

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.about(match[1], lambda repo: self.answer(self.info(match[1], repo.at(match[2]))))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", path):
            under = (match[3] or "/")[1:]
            return self.about(match[1], lambda repo: self.answer(tree(repo.at(match[2]), under)))
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.about(match[1], lambda repo: self.resolve(match[1], repo.at(match[2]), match[3]))
        if self.hub.xet and re.fullmatch(r"/api/models/.+/xet-(read|write)-token/.+", path):
            return self.storage()
        return self.answer({"error": "not known here"}, 404)

    def about(self, name: str, answer):
        if name in self.hub.repos:
            return answer(self.hub.repos[name])
        return self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def info(self, name: str, repo: Repo):
        siblings = [{"rfilename": path} for path in repo.files]
        return {"id": name, "modelId": name, "sha": repo.sha, "private": repo.private, "siblings": siblings, "tags": []}

    def storage(self):
        """Where hf_xet finds the storage: the Hub itself sees none of its bytes."""
        where, end = f"local://{self.hub.xet}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": where, "X-Xet-Access-Token": "storage", "X-Xet-Token-Expiration": str(end)}
        return self.answer({"casUrl": where, "accessToken": "storage", "exp": end}, headers=headers)

    def resolve(self, name: str, repo: Repo, path: str):
        if path not in repo.files:
            return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound",
                                                                   "X-Repo-Commit": repo.sha})  # fmt: skip
        content = repo.files[path]
        headers = {"ETag": f'"{oid_of(content)}"', "X-Repo-Commit": repo.sha}
        if isinstance(content, Pointer):
            assert self.command == "HEAD"  # its bytes are the storage's to give
            headers |= {
                "X-Linked-Size": str(content.size),
                "X-Linked-ETag": f'"{content.sha256}"',
                "X-Xet-Hash": content.xet_hash,
                "X-Xet-Refresh-Route": f"{self.hub.url}/api/models/{name}/xet-read-token/main",
            }
            content = b""
        return self.answer(headers=headers, body=content)


def tree(repo: Repo, under: str):
    return [
        {"type": "file", "path": path, "oid": oid_of(content), "size": len(content)}
        for path, content in repo.files.items()
        if path.startswith(under)
    ]


def oid_of(content: bytes | Pointer) -> str:
    return content.sha256 if isinstance(content, Pointer) else sha256(content)


def xet_hash(storage: Path, oid: str) -> str:
    """Of the file with that SHA-256, from the shards: records of 48 bytes, a file's hash first and its SHA-256 last."""
    wanted = swapped(bytes.fromhex(oid))
    for shard in storage.rglob("*.mdb"):
        content = shard.read_bytes()
        end = content.find(wanted)
        for segments in range(1, end // 96 + 1):  # each has a record, and another to verify it
            first = end - 48 * (2 * segments + 1)
            if int.from_bytes(content[first + 36 : first + 40], "little") == segments and content[first + 35] == 0xC0:
                return swapped(content[first : first + 32]).hex()
    raise AssertionError(f"{oid} is not in the storage")


def swapped(content: bytes) -> bytes:
    """Hashes are in shards as words of eight bytes, the least first."""
    return b"".join(content[i : i + 8][::-1] for i in range(0, len(content), 8))


def etag(content: bytes) -> str:
    return f'"{sha256(content)[:32]}"'


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
