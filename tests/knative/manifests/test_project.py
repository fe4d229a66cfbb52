"""Which folders of manifests are meant, and what several of them are together."""

from pathlib import Path

import pytest

from knative.manifests.documents import ManifestError
from knative.manifests.manifests import MANIFESTS, load
from knative.manifests.project import BUILTIN, chosen, find
from tests.support.local_runner import service, sink, trigger, write_manifests

PYPROJECT = '[project]\nname = "my-shop"\nversion = "1.2"\n[tool.errands]\npackage = "my_shop"\n'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_project_its_manifests_come_beside_the_built_in_ones(shop: Path) -> None:
    assert chosen(None) == (MANIFESTS, shop / "manifests")


def test_a_project_is_found_from_the_folders_below_it(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "my_shop/greet").mkdir(parents=True)
    monkeypatch.chdir(shop / "my_shop/greet")

    assert chosen(None) == (MANIFESTS, shop / "manifests")


def test_what_is_named_is_all_there_is_and_builtin_is_a_name(shop: Path) -> None:
    assert chosen([Path("mine"), Path(BUILTIN)]) == (Path("mine"), MANIFESTS)


def test_a_folder_whose_pyproject_says_nothing_of_errands_is_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    monkeypatch.chdir(tmp_path)

    assert find(tmp_path) is None
    assert chosen(None) == (MANIFESTS,)


def test_a_pyproject_that_cannot_be_read_is_named(shop: Path) -> None:
    (shop / "pyproject.toml").write_text("[project\n")

    with pytest.raises(ManifestError, match=r"pyproject.toml:1: "):
        chosen(None)


def test_each_function_of_several_folders_has_the_folder_of_its_own(tmp_path: Path) -> None:
    first = write_manifests(tmp_path / "first/manifests", [service("echo"), trigger()])
    second = tmp_path / "second/manifests"
    second.mkdir(parents=True)
    (second / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (second / "all.yaml").write_text(service("greet") + "---" + trigger("greet", subscriber="greet"))

    read = load(first, second)

    assert {name: each.root.name for name, each in read.services.items()} == {
        "deadletters": "first",
        "echo": "first",
        "greet": "second",
    }
    assert [each.name for each in read.triggers] == ["echo", "greet"]


def test_a_name_that_two_folders_give_is_refused_with_both_places(tmp_path: Path) -> None:
    first = write_manifests(tmp_path / "first", [])
    second = tmp_path / "second"
    second.mkdir()
    (second / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (second / "all.yaml").write_text(sink())

    with pytest.raises(ManifestError, match=r"second/all.yaml:.*Service 'deadletters' is declared in .*first/all.yaml"):
        load(first, second)


def test_a_folder_without_a_broker_is_told_of_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: []\n")

    with pytest.raises(ManifestError, match=r"exactly one Broker is expected, got 0; .*--manifests builtin"):
        load(tmp_path)
