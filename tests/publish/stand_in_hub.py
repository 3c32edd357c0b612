"""A stand-in of the Hub: the endpoints that huggingface_hub calls here, in memory, with faults.

It speaks LFS (files in parts), no Xet. `python -m tests.publish.stand_in_hub` runs one alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from aiohttp import web

PART = 5 << 20  # bytes of a part of a large file
LARGE = 20_000  # bytes from which on a file that is no Parquet goes by LFS
TOKEN = "hf_" + "standin" * 5
DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Fault:
    """What happens to a call instead: an answer, or a broken connection.

    `when` is "before" (nothing is done) or "after" (done, and the answer is lost).
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    when: str = "before"
    body: dict[str, Any] = field(default_factory=dict)
    action: Callable[[], None] | None = None


@dataclass
class Commit:
    oid: str
    message: str
    files: dict[str, tuple[str, str]]  # name: ("lfs", sha256) or ("blob", sha1)


@dataclass
class Repo:
    private: bool
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision]
        oid = self.tags.get(revision, revision)
        return next((c for c in self.commits if c.oid.startswith(oid)), None)


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class StandInHub:
    """The Hub in memory: repositories by type and name, contents by digest, faults by endpoint."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.contents: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.calls: Counter[str] = Counter()
        self.delay = 0.0  # seconds that a part takes
        self.url = ""

    # --- what a test does to it ---

    def fault(self, endpoint: str, *faults: Fault) -> None:
        self.faults.setdefault(endpoint, []).extend(faults)

    def repo(self, name: str, kind: str = "dataset") -> Repo:
        return self.repos[kind, name]

    def make(self, name: str, *, private: bool = True, kind: str = "dataset") -> Repo:
        made = Repo(private)
        self.repos[kind, name] = made
        self.write(made, "main", "initial commit", {".gitattributes": b"*.parquet filter=lfs\n"})
        return made

    def write(
        self, repo: Repo, branch: str, message: str, files: dict[str, bytes | None]
    ) -> Commit:
        """A commit of somebody; None removes a file."""
        entries: dict[str, tuple[str, str] | None] = {}
        for name, data in files.items():
            entries[name] = None if data is None else ("blob", self.keep(data))
        return self.add(repo, branch, message, entries)

    def keep(self, data: bytes) -> str:
        self.contents[blob_id(data)] = data
        return blob_id(data)

    def add(
        self, repo: Repo, branch: str, message: str, entries: dict[str, tuple[str, str] | None]
    ) -> Commit:
        before = repo.branches.get(branch)
        files: dict[str, tuple[str, str] | None] = {**(before.files if before else {}), **entries}
        kept = {name: entry for name, entry in sorted(files.items()) if entry is not None}
        text = json.dumps([len(repo.commits), message, kept])
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), message, kept)
        repo.commits.append(commit)
        repo.branches[branch] = commit
        return commit

    # --- what a client asks ---

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._guard])
        add = app.router.add_route
        kinds = "{kind:datasets|models}"
        name = "{owner}/{name}"
        add("GET", "/api/whoami-v2", self.whoami, name="whoami")
        add("POST", "/api/repos/create", self.create, name="create")
        add("POST", "/api/validate-yaml", self.validate, name="validate")
        add("GET", f"/api/{kinds}/{name}", self.info, name="info")
        add("GET", f"/api/{kinds}/{name}/revision/{{revision}}", self.info, name="revision")
        add("GET", f"/api/{kinds}/{name}/refs", self.refs, name="refs")
        add("GET", f"/api/{kinds}/{name}/tree/{{revision}}", self.tree, name="tree")
        add("GET", f"/api/{kinds}/{name}/tree/{{revision}}/{{path:.*}}", self.tree, name="subtree")
        add("POST", f"/api/{kinds}/{name}/paths-info/{{revision}}", self.paths, name="paths")
        add("POST", f"/api/{kinds}/{name}/preupload/{{revision}}", self.preupload, name="preupload")
        add("POST", f"/api/{kinds}/{name}/commit/{{revision}}", self.commit, name="commit")
        add("POST", f"/api/{kinds}/{name}/branch/{{revision}}", self.branch, name="branch")
        add("POST", f"/api/{kinds}/{name}/tag/{{revision}}", self.tag, name="tag")
        for prefix in ("/datasets", ""):
            batch = f"{prefix}/{name}.git/info/lfs/objects/batch"
            add("POST", batch, self.batch, name=f"batch{prefix[1:]}")
            resolve = f"{prefix}/{name}/resolve/{{revision}}/{{path:.*}}"
            # Also what a client asks before a download, with HEAD.
            app.router.add_get(resolve, self.resolve, name=f"resolve{prefix[1:]}")
        add("PUT", "/upload/{oid}/{part}", self.part, name="part")
        add("POST", "/complete/{oid}", self.complete, name="complete")
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        name = (request.match_info.route.name or "").removesuffix("datasets")
        self.calls[name] += 1
        waiting = self.faults.get(name)
        fault = waiting.pop(0) if waiting else None
        if fault is not None and fault.action:
            fault.action()
        if fault is not None and fault.when == "before" and (fault.status or not fault.action):
            await request.read()
            return self._broken(request, fault)
        signed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name not in ("part", "complete", "resolve") and not signed:
            message = "Invalid credentials in Authorization header"
            headers = {"X-Error-Message": message}
            return web.json_response({"error": message}, status=401, headers=headers)
        answer: web.StreamResponse = await handler(request)
        if fault is not None and fault.when == "after":
            return self._broken(request, fault)
        return answer

    def _broken(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status:
            return web.json_response(fault.body, status=fault.status, headers=fault.headers)
        assert request.transport is not None
        request.transport.close()
        return web.Response(status=500)

    def _repo(self, request: web.Request) -> Repo:
        about = request.match_info
        kind = about.get("kind", "datasets" if request.path.startswith("/datasets/") else "models")
        repo = self.repos.get((kind.removesuffix("s"), f"{about['owner']}/{about['name']}"))
        if repo is None:
            raise _gone("RepoNotFound", "Repository not found")
        return repo

    def _commit_of(self, request: web.Request) -> Commit:
        commit = self._repo(request).at(request.match_info.get("revision", "main"))
        if commit is None:
            raise _gone("RevisionNotFound", "Invalid rev id")
        return commit

    async def whoami(self, request: web.Request) -> web.Response:
        return web.json_response({"name": "me", "type": "user", "orgs": []})

    async def create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type", "model")
        url = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.repos:
            return web.json_response({"error": "exists", "url": url}, status=409)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.make(name, private=private, kind=kind)
        return web.json_response({"url": url})

    async def validate(self, request: web.Request) -> web.Response:
        text = (await request.json())["content"]
        header = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
        if not isinstance(header, dict):
            return web.json_response({"errors": [{"message": "no metadata"}]}, status=400)
        return web.json_response({"errors": [], "warnings": []})

    async def info(self, request: web.Request) -> web.Response:
        repo, commit = self._repo(request), self._commit_of(request)
        about = request.match_info
        return web.json_response(
            {
                "_id": "0", "id": f"{about['owner']}/{about['name']}", "sha": commit.oid,
                "private": repo.private, "gated": False, "disabled": False, "tags": [],
                "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE,
                "siblings": [{"rfilename": name} for name in commit.files],
            }
        )  # fmt: skip

    async def refs(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit.oid}
            for name, commit in repo.branches.items()
        ]
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repo.tags.items()
        ]
        return web.json_response({"branches": branches, "tags": tags, "converts": []})

    def _entry(self, path: str, entry: tuple[str, str]) -> dict[str, Any]:
        how, oid = entry
        size = len(self.contents[oid])
        own = {"type": "file", "path": path, "size": size, "oid": oid}
        return (
            {**own, "lfs": {"oid": oid, "size": size, "pointerSize": 134}} if how == "lfs" else own
        )

    async def tree(self, request: web.Request) -> web.Response:
        commit, under = self._commit_of(request), request.match_info.get("path", "")
        start = f"{under}/" if under else ""
        below = {name: entry for name, entry in commit.files.items() if name.startswith(start)}
        if under and not below:
            raise _gone("EntryNotFound", "Entry not found")
        folders = {name.rpartition("/")[0] for name in below if "/" in name[len(start) :]}
        rows = [
            {"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in sorted(folders)
        ]
        deep = request.query.get("recursive", "").lower() in ("true", "1")
        files = [n for n in below if deep or "/" not in n[len(start) :]]
        return web.json_response([*rows, *(self._entry(name, below[name]) for name in files)])

    async def paths(self, request: web.Request) -> web.Response:
        commit = self._commit_of(request)
        if request.content_type == "application/json":
            wanted = (await request.json())["paths"]
        else:
            wanted = (await request.post()).getall("paths", [])
        rows = [self._entry(n, commit.files[n]) for n in wanted if n in commit.files]
        folders = {name.rpartition("/")[0] for name in commit.files}
        rows += [_folder(name) for name in wanted if name in folders]
        return web.json_response(rows)

    async def preupload(self, request: web.Request) -> web.Response:
        files = (await request.json())["files"]
        commit = self._commit_of(request)
        rows = []
        for file in files:
            large = file["path"].endswith((".parquet", ".safetensors")) or file["size"] > LARGE
            how = "lfs" if large else "regular"
            there = commit.files.get(file["path"], (None, None))[1]
            rows.append(
                {"path": file["path"], "uploadMode": how, "shouldIgnore": False, "oid": there}
            )
        return web.json_response({"files": rows})

    async def batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._repo(request)
        rows = []
        for thing in asked["objects"]:
            oid, size = thing["oid"], thing["size"]
            row: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.contents:
                numbers = range(1, -(-size // PART) + 1)
                header = {str(n): f"{self.url}/upload/{oid}/{n}" for n in numbers}
                header["chunk_size"] = str(PART)
                row["actions"] = {
                    "upload": {"href": f"{self.url}/complete/{oid}", "header": header}
                }
            rows.append(row)
        return web.json_response({"transfer": "multipart", "objects": rows})

    async def part(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        oid, number = request.match_info["oid"], int(request.match_info["part"])
        data = await request.read()
        self.parts[oid, number] = data
        return web.Response(headers={"etag": hashlib.md5(data, usedforsecurity=False).hexdigest()})

    async def complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        oid = request.match_info["oid"]
        data = b"".join(self.parts[oid, part["partNumber"]] for part in asked["parts"])
        if hashlib.sha256(data).hexdigest() != oid:
            return web.json_response({"error": "wrong content"}, status=400)
        self.contents[oid] = data
        return web.json_response({})

    async def commit(self, request: web.Request) -> web.Response:
        repo, about = self._repo(request), request.match_info
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        top = lines[0]["value"]
        parent = top.get("parentCommit")
        if parent and repo.branches[about["revision"]].oid != parent:
            words = "A commit has happened since. Please refresh and try again."
            return web.json_response({"error": words}, status=412)
        entries: dict[str, tuple[str, str] | None] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                entries[value["path"]] = ("blob", self.keep(base64.b64decode(value["content"])))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.contents:
                    return web.json_response({"error": "no such object"}, status=400)
                entries[value["path"]] = ("lfs", value["oid"])
            else:
                entries[value["path"]] = None
        made = self.add(repo, about["revision"], top["summary"], entries)
        url = f"{self.url}/{about['owner']}/{about['name']}/commit/{made.oid}"
        return web.json_response({"success": True, "commitOid": made.oid, "commitUrl": url})

    async def branch(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        repo.branches.setdefault(request.match_info["revision"], repo.branches["main"])
        return web.json_response({})

    async def tag(self, request: web.Request) -> web.Response:
        repo, commit = self._repo(request), self._commit_of(request)
        tag = (await request.json())["tag"]
        if tag in repo.tags:
            return web.json_response({"error": "Tag reference exists already"}, status=409)
        repo.tags[tag] = commit.oid
        return web.json_response({})

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        commit, path = self._commit_of(request), request.match_info["path"]
        if path not in commit.files:
            raise _gone("EntryNotFound", "Entry not found")
        oid = commit.files[path][1]
        data = self.contents[oid]
        headers = {"ETag": f'"{oid}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        wanted = request.http_range
        if wanted.start is None and wanted.stop is None:
            return web.Response(body=data, headers=headers)
        part = data[wanted]
        start = len(data) - len(part) if (wanted.start or 0) < 0 else wanted.start or 0
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        return web.Response(status=206, body=part, headers=headers)


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}


def _gone(code: str, message: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(
        text=json.dumps({"error": message}),
        content_type="application/json",
        headers={"X-Error-Code": code, "X-Error-Message": message},
    )


@contextmanager
def running() -> Iterator[StandInHub]:
    """A stand-in that answers at `url` while the block runs, in a thread of its own."""
    hub = StandInHub()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(hub.app(), handle_signals=False)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield hub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
