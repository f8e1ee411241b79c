"""The image, as far as it can be checked without a container engine.

The build stage's own steps are carried out in a temporary folder, with this machine's Python and system in place
of the base image's; what comes out is started as the image would start it, without a shell on its path. The step
that takes its time, installing the libraries by the lock, is only done with CONSULGUARD_IMAGE=1 (make
image-steps);
else they are the development environment's. That the base image can be pulled, and that a container
starts, is not checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
from consulguard.testing.twin import ConsulTwin
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
WHOLE = os.environ.get("CONSULGUARD_IMAGE") == "1"
LOCKS = {name: ROOT / f"docker/{name}.lock" for name in ("requirements", "build")}


class Step(NamedTuple):
    stage: int
    verb: str
    rest: str


def steps() -> Iterator[Step]:
    stage = 0
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            verb, _, rest = line.partition(" ")
            stage += verb == "FROM"
            yield Step(stage, verb, rest.strip())


def of(verb: str, stage: int) -> list[str]:
    return [step.rest for step in steps() if (step.verb, step.stage) == (verb, stage)]


def test_it_has_two_stages_of_one_pinned_base_and_the_last_one_runs_nothing() -> None:
    (base,) = [step.rest for step in steps() if step.verb == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)
    assert [step.rest.split()[0] for step in steps() if step.verb == "FROM"] == ["${PYTHON}"] * 2
    assert of("RUN", 2) == []
    assert not [step for step in steps() if step.verb == "ADD" or re.search(r"curl|wget|apt|sudo", step.rest)]


def test_it_is_nobody_in_particular_and_starts_without_a_shell() -> None:
    user, _, group = of("USER", 2)[0].partition(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    values = (ROOT / "helm/consulguard/values.yaml").read_text()
    assert f"runAsUser: {user}\n" in values
    assert f"runAsGroup: {group}\n" in values
    for verb in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(of(verb, 2)[0]), list), "the exec form"
    assert json.loads(of("ENTRYPOINT", 2)[0]) == ["/opt/consulguard/bin/consulguard"]


def locked(name: str) -> dict[str, Version]:
    """Name to version; every one with checksums."""
    text = LOCKS[name].read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        what, *hashes = line.split("--hash=")
        assert hashes, f"{what} has no checksum"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h.strip()) for h in hashes)
        requirement = Requirement(what.strip())
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        found[requirement.name.lower().replace("_", "-")] = Version(pin.version)
    return found


def test_the_lock_has_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["elasticsearch"]]
    for lock, needed in (("requirements", wanted), ("build", project["build-system"]["requires"])):
        found = locked(lock)
        for text in needed:
            one = Requirement(text)
            version = found.get(one.name.lower().replace(".", "-"))
            assert version is not None, f"{one.name} is not in docker/{lock}.lock: run make lock"
            assert one.specifier.contains(version, prereleases=True), f"{one}: run make lock"


def sources(stage: int) -> list[tuple[str, str]]:
    """Source and destination of every COPY from the folder."""
    found = []
    for rest in of("COPY", stage):
        *flags, destination = shlex.split(rest)
        found += [(one, destination) for one in flags if not one.startswith("--")]
    return found


def test_what_is_copied_is_there_and_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    copied = [source for source, _ in sources(1)] + ["playbooks"]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in kept), source
    assert not any(fnmatch(".git", pattern) or fnmatch("tests", pattern) for pattern in kept)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build stage, carried out: its folder takes the place of ``/``."""
    root = tmp_path_factory.mktemp("image")
    (root / "src").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(root)} | _inherited()
    for step in steps():
        if step.stage != 1:
            continue
        if step.verb == "ENV":
            env |= dict(pair.partition("=")[::2] for pair in shlex.split(step.rest))
        elif step.verb == "COPY":
            *names, destination = shlex.split(step.rest)
            for name in names:
                _copy(ROOT / name, root / "src" / destination)
        elif step.verb == "RUN" and "requirements.lock" in step.rest and not WHOLE:
            (site,) = (root / "opt/consulguard/lib").glob("python3.*/site-packages")
            (site / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        elif step.verb == "RUN":
            command = re.sub(r"(?<![\w.])/(opt|src)/", rf"{root}/\1/", step.rest)
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=root / "src",
                env=env,
                capture_output=True,
                text=True,
                timeout=220,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return root


def _run(command: str, folder: Path, env: dict[str, str]) -> None:
    shell = ["sh", "-c", command]
    done = subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _inherited() -> dict[str, str]:
    """How this machine reaches packages."""
    names = ("PIP_CERT", "PIP_INDEX_URL", "PIP_FIND_LINKS", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in names if name in os.environ}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(exist_ok=True, parents=True)
        shutil.copy(source, target)


async def test_what_is_built_runs_without_a_shell_a_home_or_a_folder_to_write(built: Path, tmp_path: Path) -> None:
    """Read the mesh once, with nothing on the path, as the chart starts it."""
    async with ConsulTwin() as twin:
        config = {
            "consul": {"http_addr": twin.address},
            "playbooks": {"allow_empty": True},
            "journal": {"path": str(tmp_path / "state/journal.sqlite")},
        }
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        command = [f"{built}/opt/consulguard/bin/consulguard", "run", "--once", "--log-format", "ecs"]
        env = {"PATH": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "-c", str(tmp_path / "c.yaml")],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert not (built / "opt/consulguard/bin/pip").exists()
