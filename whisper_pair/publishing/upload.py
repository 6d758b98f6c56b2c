"""To the Hub: large files first, each for itself, then one commit a repository.

What was uploaded before an interruption is not sent again: the Hub knows a whole file by its SHA-256 and, by Xet, each
chunk of one by its hash. A repository shows nothing of a release until the commit that makes it whole. Unchanged files
make no commit.
"""

from fnmatch import fnmatch

from ..errors import InputError
from .release import Repository, Unwritten

WEIGHTS = "*.safetensors*"  # shards of an earlier release would be loaded with the new ones


def publish(repository: Repository, private: bool, message: str) -> str:
    """The commit's URL. Raises InputError where the Hub refuses."""
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

    api = HfApi()
    try:
        api.create_repo(repository.name, private=private, exist_ok=True)
        additions = [
            CommitOperationAdd(path, file)
            for path, file in sorted(repository.files.items())
            if not isinstance(file, Unwritten)  # of a dry run, which uploads nothing
        ]
        for addition in additions:
            api.preupload_lfs_files(repository.name, [addition], free_memory=False)
        there = api.list_repo_files(repository.name)
        stale = [path for path in there if fnmatch(path, WEIGHTS) and path not in repository.files]
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [*additions]
        operations += [CommitOperationDelete(path) for path in stale]
        return api.create_commit(repository.name, operations, commit_message=message).commit_url
    except Exception as error:  # the client's own, those of its HTTP library and of hf_xet: many kinds
        raise InputError(f"{repository.name}: {refusal(error)}") from error


def refusal(error: Exception) -> str:
    """In words. The messages of the Hub's client hold addresses and request ids, never the token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "the Hub does not let you write there; log in with `hf auth login`, or set HF_TOKEN to a write token."
    reason = " ".join(str(error).split())[:200]
    if "xet-write-token" in reason:  # the client sends large files by Xet alone wherever hf_xet is installed
        return "that Hub does not offer Xet, by which large files are sent; set HF_HUB_DISABLE_XET=1 and try again."
    return f"the upload stopped ({reason}); give the same command again to continue it."
