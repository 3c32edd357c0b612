"""A repository of the Hub: what is in it, and one commit that changes it."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cai.errors import CaiError
from cai.files import file_digest
from cai.publish.content import OWN_FILES, Content, RepoType
from cai.publish.refusals import connection_error, patiently, pause_of, status_of, wait_out

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Tell = Callable[[str], None]
Tree = Mapping[str, str]  # names of files with the digest of their content
_PARTS = (1.0, 4.0, 10.0)  # seconds before a commit is sent again


class Difference(NamedTuple):
    """What a commit would change: files that are sent, and own files of before that go."""

    sent: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.sent or self.removed)


class Repository:
    """One repository, as the Hub has it.

    Args:
        name: `owner/name`.
        type: What kind it is.
        revision: The branch that is written to.
        tell: Takes what happens, in words.
    """

    def __init__(self, name: str, type: RepoType, revision: str, tell: Tell) -> None:
        from huggingface_hub import HfApi

        self.name, self.type, self.revision, self.tell = name, type, revision, tell
        self.api: HfApi = HfApi()

    def is_public(self) -> bool | None:
        """Whether everybody can read it; None: there is no such repository."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            info = patiently(lambda: self.api.repo_info(self.name, repo_type=self.type), self.tell)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError as error:
            if status_of(error) == 404:
                return None
            raise
        return not info.private

    def create(self, *, public: bool) -> None:
        """Make it; one of this name that is there by now is as good."""
        self.api.create_repo(self.name, repo_type=self.type, private=not public, exist_ok=True)

    def head(self) -> str:
        """The commit that the branch is at; a branch that is not there is made."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            return self._commit_of(self.revision)
        except RevisionNotFoundError:
            self.api.create_branch(
                self.name, branch=self.revision, repo_type=self.type, exist_ok=True
            )
            return self._commit_of(self.revision)

    def _commit_of(self, revision: str) -> str:
        info = patiently(
            lambda: self.api.repo_info(self.name, repo_type=self.type, revision=revision),
            self.tell,
        )
        return str(info.sha)

    def tree(self, commit: str) -> Tree:
        """The files of a commit: SHA-256 of large ones, git's own digest of the others."""

        def read() -> dict[str, str]:
            entries: Any = self.api.list_repo_tree(
                self.name, recursive=True, revision=commit, repo_type=self.type
            )
            return {
                entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
                for entry in entries
                if hasattr(entry, "blob_id")
            }

        return patiently(read, self.tell)

    def difference(self, content: Content, tree: Tree) -> Difference:
        """What of the content is not in a tree, and which files of earlier pushes it has too many.

        Files that are neither sent nor of a name that `cai push` writes are left alone.
        """
        files = content.files
        sent = [name for name, path in files.items() if tree.get(name) not in digests(path)]
        own = OWN_FILES[self.type]
        removed = [
            name
            for name in tree
            if name not in files and any(fnmatch.fnmatchcase(name, sign) for sign in own)
        ]
        return Difference(tuple(sent), tuple(sorted(removed)))

    def commit(self, content: Content, difference: Difference, parent: str, message: str) -> str:
        """Upload what differs and write it as one commit on top of `parent`.

        Returns:
            The commit's id.

        Raises:
            CaiError: Somebody else wrote in between.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        files = content.files
        added = [CommitOperationAdd(name, files[name]) for name in difference.sent]
        removed = [CommitOperationDelete(name) for name in difference.removed]
        self.api.preupload_lfs_files(
            self.name, added, repo_type=self.type, revision=self.revision, free_memory=False
        )
        for pause in (*_PARTS, None):
            try:
                info = self.api.create_commit(
                    self.name,
                    [*added, *removed],
                    commit_message=message,
                    repo_type=self.type,
                    revision=self.revision,
                    parent_commit=parent,
                )
                return str(info.oid)
            except connection_error() as error:
                # Whether it came through is asked, and never guessed: a second commit is refused
                # by its parent in any case.
                arrived = self._arrived(content, parent, error)
                if arrived is not None:
                    return arrived
                if pause is None:
                    raise
                wait_out(error, pause_of(error) or pause, self.tell)
        raise AssertionError("the last try returns or raises")

    def _arrived(self, content: Content, parent: str, error: Exception) -> str | None:
        """The commit, where it was made although no answer came; None: it was not made."""
        status = status_of(error)
        if status is not None and status != 412 and status < 500:
            return None
        head = self.head()
        if head == parent:
            return None
        tree = self.tree(head)
        if not self.difference(content, tree):
            return head
        raise self._moved(parent, head, tree) from error

    def _moved(self, parent: str, head: str, tree: Tree) -> CaiError:
        before = self.tree(parent)
        names = sorted(n for n in {*before, *tree} if before.get(n) != tree.get(n))
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        return CaiError(
            f"{self.name}: 412: somebody wrote to {self.revision} in between "
            f"({parent[:8]} is now {head[:8]}); changed: {shown or 'nothing'}",
            "Look at it, then run the same command again: it goes on top of the new commit.",
        )

    def tag(self, tag: str, commit: str) -> None:
        """Give a commit a name; one that it has already is as good.

        Raises:
            CaiError: The name belongs to another commit.
        """
        refs = patiently(lambda: self.api.list_repo_refs(self.name, repo_type=self.type), self.tell)
        for ref in refs.tags:
            if ref.name == tag:
                if ref.target_commit == commit:
                    return
                raise CaiError(
                    f"{self.name}: the tag {tag} belongs to {ref.target_commit[:8]}",
                    "Choose another --tag. The data was sent.",
                )
        self.api.create_tag(self.name, tag=tag, revision=commit, repo_type=self.type)


def digests(path: Path) -> tuple[str, str]:
    """The digests by which the Hub may know a file: SHA-256, and git's of a blob."""
    import hashlib

    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            blob.update(part)
    return file_digest(path), blob.hexdigest()
