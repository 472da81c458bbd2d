"""The built distribution carries the service, all of it, and nothing else."""

import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

from tests.house.tree import PACKAGES, ROOT, shipped_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIST_INFO = f"{PROJECT['name']}-{PROJECT['version']}.dist-info"


def _build(kind: str, into: Path) -> Path:
    """Build with what is installed and no network: the backend is locked like everything else."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(into), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = into.iterdir()
    return built


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(name="names", scope="module")
def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(name="metadata", scope="module")
def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())


@pytest.fixture(name="installed", scope="module")
def _installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, and only it, into an environment that finds the dependencies where they are.

    A `.pth` line adds this environment's folder of packages without following the `.pth` files in it, so the
    editable installation of the working tree stays out of sight.
    """
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    dependencies = Path(pytest.__file__).parents[1]
    (packages / "dependencies.pth").write_text(f"{dependencies}\n", "utf-8")
    return place


def _ask(installed: Path, program: str) -> str:
    command = [str(installed / "bin" / "python"), "-I", "-c", program]
    return subprocess.run(command, cwd=installed, check=True, capture_output=True, text=True).stdout.strip()


def test_the_wheel_has_four_packages_and_nothing_beside_them(names: set[str]) -> None:
    """The top of the wheel is the four packages by name and its own metadata: no tests, no docs."""
    assert {*PACKAGES, DIST_INFO} == {name.split("/", 1)[0] for name in names}


def test_the_wheel_carries_every_file_of_the_packages(names: set[str]) -> None:
    """Each file of the four packages is in the wheel, and no other."""
    assert shipped_files() == {name for name in names if not name.startswith(DIST_INFO)}


@pytest.mark.parametrize(
    "needed",
    [
        *(f"{package}/py.typed" for package in PACKAGES),
        "worker/store/migrations/env.py",
        "worker/store/migrations/script.py.mako",
        "worker/store/migrations/versions/0001_the_first_tables.py",
        f"{DIST_INFO}/licenses/LICENSE",
    ],
)
def test_the_wheel_carries_what_no_import_would_miss(names: set[str], needed: str) -> None:
    """Types, migrations and the license travel with the code."""
    assert needed in names


def test_every_folder_of_the_packages_is_a_package() -> None:
    """A folder without `__init__.py` loses to any regular package of its name, so only migrations have none."""
    folders = {PurePosixPath(name).parent for name in shipped_files() if name.endswith(".py")}
    bare = {folder.as_posix() for folder in folders if not (ROOT / folder / "__init__.py").exists()}

    assert {"worker/store/migrations", "worker/store/migrations/versions"} == bare


def test_the_wheel_asks_for_what_the_project_declares(metadata: Message) -> None:
    """Whoever installs the wheel gets the declared dependencies and the Python that they need."""
    required = {Requirement(text) for text in metadata.get_all("Requires-Dist", [])}

    assert {Requirement(text) for text in PROJECT["dependencies"]} == {
        requirement for requirement in required if "extra" not in str(requirement.marker)
    }
    assert PROJECT["requires-python"] == metadata["Requires-Python"]
    assert "Apache-2.0" == metadata["License-Expression"]


def test_the_command_is_clawback(wheel: Path) -> None:
    """One script, with a name of its own: the generic names of the packages stay out of the operator's shell."""
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{DIST_INFO}/entry_points.txt").decode().split("\n")

    assert ["[console_scripts]", "clawback = worker.cli:main"] == [line for line in scripts if line]


def test_the_installed_wheel_runs(installed: Path) -> None:
    """The wheel alone, away from the working tree, has a command that tells its version."""
    command = [str(installed / "bin" / "clawback"), "version"]
    told = subprocess.run(command, cwd=installed, check=False, capture_output=True, text=True)

    assert (0, "") == (told.returncode, told.stderr)
    assert PROJECT["version"] in told.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_packages_are_the_wheels(installed: Path, package: str) -> None:
    """What is imported is what was installed, and it belongs to exactly one distribution."""
    place = _ask(installed, f"import {package}; print({package}.__file__)")
    owners = _ask(installed, f"import importlib.metadata as m; print(m.packages_distributions()['{package}'])")

    assert place.startswith(str(installed))
    assert f"['{PROJECT['name']}']" == owners


def test_the_installed_wheel_finds_its_migrations(installed: Path) -> None:
    """A database can be brought up to date from the wheel alone."""
    assert "0001" <= _ask(installed, "from worker.store import migrate; print(migrate.head())")


def test_the_source_distribution_carries_what_the_wheel_is_made_of(tmp_path: Path, names: set[str]) -> None:
    """The source archive has everything that the wheel is made of, and no tests."""
    with tarfile.open(_build("sdist", tmp_path)) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames()}

    assert shipped_files() <= inside
    assert set() == {name.split("/", 1)[0] for name in inside} & {"tests", "docs", "deploy", ".ci"}
