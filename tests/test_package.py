"""The wheel holds every package and every file that the code reads; pyproject.toml lists them one by one."""

import tomllib

from tests.conftest import ROOT

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
SOURCES = {f"whisper_pair.stages.{stage}": ROOT / stage for stage in ("train", "distill", "eval")}


def folder_of(package: str):
    """Where a package of the wheel is in a checkout."""
    for name, folder in SOURCES.items():
        if package == name or package.startswith(f"{name}."):
            return folder.joinpath(*package.removeprefix(name).split(".")[1:])
    return ROOT.joinpath(*package.split("."))


def test_every_folder_of_code_is_a_package_of_the_wheel():
    tops = (ROOT / "whisper_pair", *SOURCES.values())
    found = {file.parent for top in tops for file in top.rglob("*.py")}
    assert found == {folder_of(package) for package in SETUPTOOLS["packages"]}


def test_every_file_beside_the_code_is_in_the_wheel():
    found = {
        (package, file.name)
        for package in SETUPTOOLS["packages"]
        for file in folder_of(package).iterdir()
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    listed = {(package, name) for package, names in SETUPTOOLS["package-data"].items() for name in names}
    assert listed == found


def test_the_wheel_says_that_it_is_typed():
    assert "py.typed" in SETUPTOOLS["package-data"]["whisper_pair"]
    assert (ROOT / "whisper_pair" / "py.typed").read_bytes() == b""
