"""What users install: the package `optimem` with its data, and nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]


def installed_files() -> dict[str, Path]:
    """Each file under the packages' folders by its name in the wheel, links not followed."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and not path.name.startswith("."):
                found[f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder)}"] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from an sdist of a copy, so that neither the checkout nor an old build/ is in it."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS.values():
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_is_what_the_folders_hold(wheel: Path) -> None:
    info = f"optimem-{PYPROJECT['project']['version']}.dist-info"
    names = contents(wheel)
    assert {name.split("/")[0] for name in names} == {"optimem", info}
    assert {n for n in names if not n.startswith(info)} == set(installed_files())
    assert f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if "test_" in name or "conftest" in name]


@pytest.mark.parametrize(
    "pattern",
    [
        "optimem/py.typed",
        "optimem/data/transcript.json",
        "optimem/data/LICENSE-transcript.txt",
        "optimem/data/dictionary.zstd",
        "optimem/data/LICENSE-dictionary.txt",
        "optimem/readers/profiles.json",
        "optimem/renderers/fonts/*atlas*",
        "optimem/renderers/fonts/*LICENSE*",
    ],
)
def test_wheel_carries_its_data(wheel: Path, pattern: str) -> None:
    assert [name for name in contents(wheel) if Path(name).match(pattern)]


def test_check_wheel_contents(wheel: Path) -> None:
    command = [sys.executable, "-m", "check_wheel_contents", str(wheel)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_is_listed() -> None:
    suffix = "/__init__.py"
    on_disk = {n.removesuffix(suffix) for n in installed_files() if n.endswith(suffix)}
    listed: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted(name.replace("/", ".") for name in on_disk)


def test_changelog_has_the_version() -> None:
    assert f"## [{PYPROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()
