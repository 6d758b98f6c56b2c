"""The commit that provenance.json names is the package's own, or none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from whisper_pair.runs.provenance import git_commit


def git(folder: Path, *arguments: str) -> str:
    named = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *named, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A repository that holds a package; returns the package."""
    package = tmp_path / "checkout" / "whisper_pair"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package.parent / "pyproject.toml").write_text('[project]\nname = "whisper-pair"\n')
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    return package


def test_of_a_checkout_its_commit_is_named(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert git_commit(checkout) == head
    (checkout.parent / "outputs").mkdir()  # what a run leaves there is no change of the code
    (checkout.parent / "outputs" / "config.yaml").write_text("language: nl")
    assert git_commit(checkout) == head


def test_changes_of_tracked_files_are_recorded(checkout):
    (checkout / "__init__.py").write_text("changed = True\n")
    assert git_commit(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_a_package_installed_inside_another_projects_repository_names_no_commit(checkout):
    (checkout.parent / ".gitignore").write_text(".venv\n")
    packages = checkout.parent / ".venv" / "lib" / "python3" / "site-packages"
    installed = Path(shutil.copytree(checkout, packages / "whisper_pair"))
    assert git_commit(installed) is None
    beside = Path(shutil.copytree(checkout, checkout.parent / "copied"))  # at its top, but not tracked by it
    assert git_commit(beside) is None


def test_a_package_vendored_below_the_top_of_a_repository_names_no_commit(checkout):
    vendored = Path(shutil.copytree(checkout, checkout.parent / "vendor" / "whisper_pair"))
    git(checkout.parent, "add", ".")
    git(checkout.parent, "commit", "-qm", "vendored")
    assert git_commit(vendored) is None


def test_another_project_that_keeps_a_copy_of_the_package_names_no_commit(checkout):
    (checkout.parent / "pyproject.toml").write_text('[project]\nname = "another"\n')
    git(checkout.parent, "commit", "-qam", "another")
    assert git_commit(checkout) is None
    git(checkout.parent, "rm", "-q", "pyproject.toml")
    git(checkout.parent, "commit", "-qm", "none")
    assert git_commit(checkout) is None


def test_without_a_repository_or_a_commit_or_git_there_is_none(checkout, monkeypatch, tmp_path):
    assert git_commit(Path(shutil.copytree(checkout, tmp_path / "elsewhere" / "whisper_pair"))) is None
    bare = tmp_path / "bare" / "whisper_pair"
    bare.mkdir(parents=True)
    git(bare.parent, "init", "-q")
    assert git_commit(bare) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(checkout) is None
