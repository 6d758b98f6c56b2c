"""A Hub on the loopback: the parts of its HTTP API that publishing and loading a model take, kept in memory."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

TOKEN = "hf_aSecretThatNoOutputMayHold"


@dataclass
class Repo:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b""}])  # path -> content

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


class Hub:
    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # by SHA-256
        self.puts: list[str] = []  # SHA-256 of every large upload that was begun
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
            oid = None if there is None else (sha256(there) if large else git_sha1(there))
            mode = "lfs" if large else "regular"
            return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

        self.answer({"files": [of(file) for file in files]})

    def batch(self, objects):
        def of(one):
            known = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] in self.hub.large:
                return known
            return known | {"actions": {"upload": {"href": f"{self.hub.url}/large/{one['oid']}"}}}

        self.answer({"objects": [of(one) for one in objects]})

    def do_PUT(self):
        oid = self.path.rpartition("/")[2]
        self.hub.puts.append(oid)
        if len(self.hub.puts) == self.hub.hang_at:
            self.rfile.read(1000)  # of megabytes
            self.hub.hangs.set()
            return None
        content = self.rfile.read(int(self.headers["Content-Length"]))
        assert sha256(content) == oid
        self.hub.large[oid] = content
        return self.answer({})

    def commit(self, name: str, lines):
        repo = self.hub.repos[name]
        files = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        self.answer({"commitUrl": f"{self.hub.url}/{name}/commit/{repo.sha}", "commitOid": repo.sha})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlparse(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.+)?", path):
            return self.about(match[1], lambda repo: self.answer(self.info(match[1], repo)))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+(/.*)?", path):
            under = (match[2] or "/")[1:]
            return self.about(match[1], lambda repo: self.answer(tree(repo, under)))
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self.about(match[1], lambda repo: self.resolve(repo, match[2]))
        return self.answer({"error": "not known here"}, 404)

    def about(self, name: str, answer):
        if name in self.hub.repos:
            return answer(self.hub.repos[name])
        return self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def info(self, name: str, repo: Repo):
        siblings = [{"rfilename": path} for path in repo.files]
        return {"id": name, "modelId": name, "sha": repo.sha, "private": repo.private, "siblings": siblings, "tags": []}

    def resolve(self, repo: Repo, path: str):
        if path not in repo.files:
            return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound",
                                                                   "X-Repo-Commit": repo.sha})  # fmt: skip
        content = repo.files[path]
        return self.answer(headers={"ETag": f'"{sha256(content)}"', "X-Repo-Commit": repo.sha}, body=content)


def tree(repo: Repo, under: str):
    return [
        {"type": "file", "path": path, "oid": git_sha1(content), "size": len(content)}
        for path, content in repo.files.items()
        if path.startswith(under)
    ]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
