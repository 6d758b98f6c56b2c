"""Data sets on the loopback Hub: the parts of its HTTP API that reading one takes, ranges of bytes included."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlparse

from tests.hub_server import Handler, Hub, git_sha1, sha256


@dataclass
class DataSet:
    revisions: dict[str, dict[str, bytes]]  # "main", "refs/convert/parquet", ... -> path -> content
    private: str | None = None  # the token that opens it

    def sha(self, revision: str) -> str:
        """Of the commit that a branch stands for."""
        return sha256(repr(sorted(self.files(revision).items())).encode())[:40]

    def files(self, revision: str) -> dict[str, bytes] | None:
        found = (files for name, files in self.revisions.items() if name == revision or self.sha(name) == revision)
        return self.revisions.get(revision) or next(found, None)


class DataHub(Hub):
    """Beside what a Hub does, it serves `sets`, and breaks off every transfer once `patience` bytes are sent."""

    def __init__(self):
        super().__init__()
        self.server.RequestHandlerClass = type("Handler", (DataHandler,), {"hub": self})
        self.server.handle_error = lambda *_: None  # a reader that ends without a word
        self.sets: dict[str, DataSet] = {}
        self.sent: dict[str, int] = {}  # bytes of each file's content
        self.patience: int | None = None


class DataHandler(Handler):
    hub: DataHub

    def do_POST(self):  # noqa: N802 (http.server's name)
        path = unquote(urlparse(self.path).path)
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/(.+)", path):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            wanted = parse_qs(body).get("paths") or re.findall(r'"([^"]+)"', body.partition('"paths"')[2])
            return self.set_at(match[1], match[2], lambda files: self.answer(about(files, wanted)))
        return super().do_POST()

    def do_GET(self):  # noqa: N802
        path = unquote(urlparse(self.path).path)
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            name, revision = match[1], match[2] or "main"
            return self.set_at(name, revision, lambda files: self.answer(self.described(name, revision)))
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([0-9a-f]{40}|refs/[^/]+/[^/]+|[^/]+)(/.*)?", path):
            under = (match[3] or "/")[1:]
            recursive = "recursive=true" in urlparse(self.path).query.lower()
            return self.set_at(match[1], match[2], lambda files: self.answer(tree(files, under, recursive)))
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([0-9a-f]{40}|refs/[^/]+/[^/]+|[^/]+)/(.+)", path):
            return self.set_at(match[1], match[2], lambda files: self.content(match[1], match[2], files, match[3]))
        return super().do_GET()

    def set_at(self, name: str, revision: str, answer):
        """A private set is hidden from those who have not its token, as the Hub hides it."""
        data_set = self.hub.sets.get(name)
        allowed = data_set and data_set.private in (None, self.headers.get("Authorization", "").removeprefix("Bearer "))
        if not allowed:
            return self.answer({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        files = data_set.files(revision)
        if files is None:
            return self.answer({"error": f"Invalid rev id: {revision}"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return answer(files)

    def described(self, name: str, revision: str):
        data_set = self.hub.sets[name]
        siblings = [{"rfilename": path} for path in data_set.files(revision)]
        sha, private = data_set.sha(revision), data_set.private is not None
        return {"id": name, "sha": sha, "private": private, "siblings": siblings, "tags": [], "downloads": 0}

    def content(self, name: str, revision: str, files: dict[str, bytes], path: str):
        sha = self.hub.sets[name].sha(revision)
        if path not in files:
            return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        body, status = files[path], 200
        headers = {"ETag": f'"{sha256(body)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            body, status = body[first : last + 1], 206
        if self.command == "GET":
            if self.hub.patience is not None and sum(self.hub.sent.values()) > self.hub.patience:
                self.close_connection = True
                return self.connection.close()
            self.hub.sent[path] = self.hub.sent.get(path, 0) + len(body)
        return self.answer(status=status, headers=headers, body=body)


def about(files: dict[str, bytes], paths: list[str]):
    return [entry for path in paths for entry in tree(files, path, False, itself=True)]


def tree(files: dict[str, bytes], under: str, recursive: bool, itself: bool = False):
    """Files and folders below a folder, or, of `paths-info`, what stands at a path."""
    found, inside = {}, f"{under.rstrip('/')}/" if under.strip("/") else ""
    for path, content in files.items():
        file = {"type": "file", "path": path, "oid": git_sha1(content), "size": len(content)}
        if itself and path == under:
            found[path] = file
        elif itself and path.startswith(inside):
            found[under] = {"type": "directory", "path": under, "oid": "0" * 40, "size": 0}
        elif not itself and path.startswith(inside):
            parts = path[len(inside) :].split("/")
            folders = ["/".join(parts[: i + 1]) for i in range(len(parts) - 1)]
            for folder in folders if recursive else folders[:1]:
                name = inside + folder
                found[name] = {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
            if recursive or not folders:
                found[path] = file
    return list(found.values())
