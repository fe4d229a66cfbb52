"""What is said of functions' files before anything starts, with file and line."""

from pathlib import Path

import pytest

from knative.local.sources import faults
from knative.manifests.manifests import MANIFESTS, Service, load


def found(root: Path, source: str, target: str = "handle", **given: str) -> list[str]:
    service = Service(
        name="greet",
        root=root,
        environment={"FUNCTION_SOURCE": source, "FUNCTION_TARGET": target},
        config_maps=(),
        concurrency=1,
        min_scale=0,
        max_scale=1,
        timeout_s=5.0,
        idle_s=60.0,
        where="greet.yaml:1",
    )
    return faults([service], {"greet": given})


def test_our_own_functions_have_nothing_wrong() -> None:
    assert faults(load(MANIFESTS).services.values(), {}) == []


def test_a_file_that_is_not_there_is_named_with_the_manifest(tmp_path: Path) -> None:
    [said] = found(tmp_path, "shop/main.py")

    assert said.startswith("greet.yaml:1: FUNCTION_SOURCE shop/main.py of greet cannot be read: ")
    assert "No such file or directory" in said


def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import os\n\ndef handle(:\n")

    [said] = found(tmp_path, "main.py")

    assert said == f"{tmp_path}/main.py:3: greet cannot start, this is not Python: invalid syntax"


def test_a_target_that_is_misspelt_is_named_with_what_is_like_it(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def handle(request): ...\n")

    [said] = found(tmp_path, "main.py", "handel")

    assert said.endswith("main.py has no function 'handel'; did you mean handle?")


@pytest.mark.parametrize(
    "source",
    [
        "async def handle(request): ...",
        "handle = print",
        "from os import path as handle",
        "from os import *",
        "try:\n    from os import handle\nexcept ImportError:\n    def handle(request): ...",
        "if True:\n    handle = print",
        "with open('x') as handle: ...",
        "first, handle = print, print",
    ],
)
def test_however_a_module_makes_its_target_it_is_found(tmp_path: Path, source: str) -> None:
    (tmp_path / "main.py").write_text(source)

    assert found(tmp_path, "main.py") == []


def test_what_set_puts_in_place_of_the_manifest_is_what_counts(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def greet(request): ...\n")

    assert found(tmp_path, "main.py", FUNCTION_TARGET="greet") == []
    assert found(tmp_path, "gone.py", FUNCTION_SOURCE="main.py", FUNCTION_TARGET="greet") == []


@pytest.mark.parametrize("taking", ["functions/__init__.py", "events.py", "errands/__init__.py"])
def test_a_package_that_takes_the_place_of_ours_is_named_with_the_line_that_mends_it(
    tmp_path: Path, taking: str
) -> None:
    (tmp_path / "main.py").write_text("handle = print\n")
    (tmp_path / taking).parent.mkdir(exist_ok=True)
    (tmp_path / taking).touch()

    [said] = found(tmp_path, "main.py")

    assert "takes the place of Errands' own package " in said
    assert f"name yours after the project: mv {tmp_path / taking.removesuffix('/__init__.py')} " in said


@pytest.mark.parametrize("harmless", ["knative/base.yaml", "functions/main.py", "events/order.json"])
def test_a_folder_that_is_no_package_takes_the_place_of_nothing(tmp_path: Path, harmless: str) -> None:
    (tmp_path / "main.py").write_text("handle = print\n")
    (tmp_path / harmless).parent.mkdir()
    (tmp_path / harmless).touch()

    assert found(tmp_path, "main.py") == []
