"""As much of the Hugging Face hub's HTTP interface as the real huggingface_hub asks for when it sends and fetches small datasets."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_of_a_test"


class Hub:
    """A context manager. `repos` is what it holds, `log` what it was asked."""

    def __init__(self) -> None:
        self.repos: dict[str, dict] = {}
        self.log: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_POST = do_HEAD = do_DELETE = do_GET

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path.split("?")[0])
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.log.append(f"{request.command} {path}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(request, 401, {"error": "who are you?"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            known = name in self.repos
            self.repos.setdefault(name, {"private": asked.get("visibility") == "private" or asked.get("private", False), "files": {}, "tags": []})
            return self._send(request, 409 if known else 200, {"url": f"{self.address}/datasets/{name}"})
        if path == "/api/validate-yaml":
            return self._send(request, 200, {"errors": [], "warnings": []})
        name, rest = self._split(path)
        if name not in self.repos:
            return self._send(request, 404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        return self._about(request, self.repos[name], name, rest, body)

    def _split(self, path: str) -> tuple[str, list[str]]:
        parts = path.removeprefix("/api").removeprefix("/datasets/").split("/")
        return "/".join(parts[:2]), parts[2:]

    def _about(self, request: BaseHTTPRequestHandler, repo: dict, name: str, rest: list[str], body: bytes) -> None:
        files, sha = repo["files"], hashlib.sha1(json.dumps(sorted(repo["files"])).encode()).hexdigest()
        match rest:
            case [] | ["revision", _]:
                siblings = [{"rfilename": path} for path in files]
                return self._send(request, 200, {"_id": "1", "id": name, "private": repo["private"], "sha": sha, "siblings": siblings, "tags": []})
            case ["tree", _]:
                return self._send(request, 200, [{"type": "file", "path": path, "size": len(data), "oid": "0"} for path, data in files.items()])
            case ["refs"]:
                tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": sha} for tag in repo["tags"]]
                return self._send(request, 200, {"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": sha}], "tags": tags, "converts": []})
            case ["tag", where]:
                repo["tags"] = [*repo["tags"], json.loads(body)["tag"]] if request.command == "POST" else [tag for tag in repo["tags"] if tag != where]
                return self._send(request, 200, {})
            case ["preupload", _]:
                modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for file in json.loads(body)["files"]]
                return self._send(request, 200, {"files": modes})
            case ["commit", _]:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                    elif line["key"] == "deletedFile":
                        del files[line["value"]["path"]]
                return self._send(
                    request, 200, {"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.address}/datasets/{name}/commit/1", "hookOutput": ""}
                )
            case ["resolve", _, *parts]:
                content = files["/".join(parts)]
                headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Content-Length": str(len(content))}
                return self._send(request, 200, content, headers)
        return self._send(request, 500, {"error": f"nobody thought of {request.path}"})

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        for key, value in ({"Content-Length": str(len(data)), "Content-Type": "application/json"} | (headers or {})).items():
            request.send_header(key, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)
