"""The commands of authors, for what they are asked in the wrong place or with the wrong words.

What they do in a project stands in tests/test_installed.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from knative.cluster.overlay import Overlay, overlay_of
from knative.lint import look_at
from knative.manifests.documents import ManifestDocument
from knative.manifests.project import Project, link_builtin
from knative.scaffold import CannotMake, new_function, new_project
from tests.support.local_runner import ROOT
from tests.support.overlays import PRODUCTION, kustomized, production

pytestmark = pytest.mark.slow


def errands(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "knative.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=120)


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    new_project(tmp_path / "my-shop")
    return Project(folder=tmp_path / "my-shop", package="my_shop", version="0.1.0")


@pytest.mark.parametrize("name", ["My Shop", "shop_", "9shop", "shop--x", "class", "x" * 41, ""])
def test_a_name_that_no_service_could_have_is_refused(tmp_path: Path, shop: Project, name: str) -> None:
    with pytest.raises(CannotMake):
        new_function(name, shop)


@pytest.mark.parametrize("name", ["functions", "events", "errands"])
def test_a_project_is_not_named_as_a_package_of_errands(tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotMake, match="is the name of a package of Errands itself"):
        new_project(tmp_path / name)

    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["ics", "notifier", "longreport"])
def test_a_function_is_not_named_as_one_of_errands(shop: Project, name: str) -> None:
    with pytest.raises(CannotMake, match="Errands itself has a function"):
        new_function(name, shop)


def test_a_project_without_a_function_yet_has_the_built_in_ones(shop: Project) -> None:
    done = errands(shop.folder, "lint")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": 0 errors, 0 warnings\n")


def test_what_is_there_is_not_written_over(shop: Project) -> None:
    new_function("greet", shop)
    main = shop.folder / "my_shop/greet/main.py"
    main.write_text("mine")

    with pytest.raises(CannotMake, match="already there: "):
        new_function("greet", shop)
    with pytest.raises(CannotMake, match="is there and is not empty"):
        new_project(shop.folder)

    assert main.read_text() == "mine"
    assert (shop.manifests / "kustomization.yaml").read_text().count("greet.yaml") == 1


def test_a_name_of_several_words_is_one_in_each_place(shop: Project) -> None:
    new_function("resize-photo", shop)

    assert "class ResizePhotoRequested" in (shop.folder / "my_shop/resize_photo/types.py").read_text()
    assert "dev.errands.resizephoto.requested.v1" in (shop.samples / "resize-photo.json").read_text()
    assert errands(shop.folder, "run", "my_shop/resize_photo/main.py").returncode == 0


def test_what_is_made_is_formatted_and_typed(shop: Project) -> None:
    new_function("greet", shop)
    ruff, mypy = ("-m", "ruff", "--config", str(ROOT / "pyproject.toml")), ("-m", "mypy", "--strict", "-p", "my_shop")

    for command in ((*ruff, "format", "--check"), ("-m", "ruff", "check"), mypy):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=shop.folder,
            env=os.environ | {"MYPYPATH": f"{ROOT}:{ROOT / 'functions/public'}"},  # as if it were installed
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "function", "greet"), "this is no project of functions: go to one, or begin one with: errands new"),
        (("new", "function"), "errands new PROJECT, or errands new function NAME"),
        (("image", "greet"), "this is no project of functions"),
        (("run", "nosuch.py"), "there is no file nosuch.py"),
        (("run", "mine.py"), "no manifest has mine.py as its FUNCTION_SOURCE"),
        (("test-event", "nosuch"), "nosuch is neither a file"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "mine.py").write_text("handle = print\n")

    done = errands(tmp_path, *arguments)

    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_handler_that_fails_or_has_a_bug_ends_with_the_code_of_that(shop: Project) -> None:
    new_function("greet", shop)
    main, sample = shop.folder / "my_shop/greet/main.py", shop.samples / "greet.json"
    sample.write_text(sample.read_text().replace("Ada", " "))
    failed = errands(shop.folder, "run", "my_shop/greet/main.py")
    main.write_text(main.read_text().replace("    try:\n", "    1 // 0\n    try:\n"))
    bug = errands(shop.folder, "run", "my_shop/greet/main.py", "--event", "greet")
    main.write_text("def handle(:\n")
    broken = errands(shop.folder, "run", "my_shop/greet/main.py")

    assert (failed.returncode, bug.returncode, broken.returncode) == (1, 2, 1)
    assert "failed in" in failed.stdout
    assert "name: a name of more than blanks is expected" in failed.stdout
    assert "outcome  bug in" in bug.stdout
    assert 'main.py", line ' in bug.stderr
    assert broken.stderr.splitlines()[-1] == f"{main}:1: this is not Python: invalid syntax"


def test_a_built_in_function_is_called_once_too(tmp_path: Path) -> None:
    done = errands(ROOT, "run", "functions/ics/main.py", "--data", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert "event    dev.errands.ics.requested.v1" in done.stdout
    assert "outcome  completed in" in done.stdout
    assert [each.name for each in (tmp_path / "store").rglob("*.ics")] == ["kickoff.ics"]


def test_up_shows_warnings_and_stops_at_an_error_with_its_line(shop: Project) -> None:
    new_function("greet", shop)
    manifest = shop.manifests / "greet.yaml"
    manifest.write_text(manifest.read_text().replace("retry: 3", "retries: 3"))

    done = errands(shop.folder, "up", "--port", "0")

    assert done.returncode == 64
    assert f"{manifest}:" in done.stderr
    assert "error: " in done.stderr
    assert "errands up does not start with these errors" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("up",), ("exec", "--", "true"), ("work", "longreport")], ids=lambda each: each[0]
)
def test_on_another_system_than_linux_one_sentence_says_so(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from knative.cli.main import main; "
        f"sys.platform, sys.argv = 'darwin', ['errands', *{arguments!r}]; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 64
    assert done.stderr == (
        "functions are run on Linux alone, and this is darwin: use the image errands/runner (README.md)\n"
    )


def test_an_image_is_built_by_the_projects_dockerfile_with_the_functions_name(shop: Project) -> None:
    new_function("resize-photo", shop)
    echo = shutil.which("echo")
    assert echo

    done = errands(shop.folder, "image", "resize-photo", "--builder", echo, "--base", "debian:12")

    asked = "build --build-arg FUNCTION=resize_photo --build-arg BASE=debian:12 --tag my-shop/resize-photo:0.1.0"
    assert done.stdout.splitlines() == [f"{asked} --file Dockerfile .", "built my-shop/resize-photo:0.1.0"]


def test_a_projects_overlay_is_that_of_errands_with_its_own_functions_hardened_as_well(shop: Project) -> None:
    new_function("greet", shop)
    rendered = overlay_of(kustomized(shop.overlay))

    def services(overlay: Overlay) -> dict[str, ManifestDocument]:
        return {each.name: each for each in overlay.documents if each.group == "serving.knative.dev"}

    greet = services(rendered)["greet"].data
    container = greet["spec"]["template"]["spec"]["containers"][0]
    [config] = [each.data for each in rendered.documents if (each.kind, each.name) == ("ConfigMap", "errands")]
    others = {name: each.data for name, each in services(rendered).items() if name != "greet"}
    assert others == {name: each.data for name, each in services(production()).items()}
    assert (greet["metadata"]["namespace"], rendered.namespace) == ("errands", "errands")
    assert container["image"] == "registry.shop.example/my-shop/greet:0.1.0"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert config["data"]["SANDBOX_WALLS"] == "required"
    assert look_at(rendered.documents, production=True).findings == []


def test_a_projects_overlay_is_rendered_before_it_has_a_function(shop: Project) -> None:
    assert len(overlay_of(kustomized(shop.overlay)).documents) == len(production().documents)


def test_an_overlay_names_every_image_of_errands(shop: Project) -> None:
    images = yaml.safe_load((PRODUCTION / "images/kustomization.yaml").read_text())["images"]
    own = yaml.safe_load((shop.overlay / "kustomization.yaml").read_text())["images"]

    assert [each["name"] for each in own] == [each["newName"] for each in images]


@pytest.mark.parametrize("command", ["preflight", "deploy", "undeploy", "cluster-test"])
def test_what_speaks_to_a_cluster_takes_the_projects_overlay(shop: Project, command: str) -> None:
    kustomized(shop.overlay)  # or kustomize is missing, and the reason another
    with (shop.overlay / "functions/kustomization.yaml").open("a") as listing:
        listing.write("unheard-of: 1\n")

    done = errands(shop.folder, command)

    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith(f"{shop.overlay}: ")
    assert "unheard-of" in done.stderr


def test_a_copy_of_the_builtin_overlay_is_left_alone(shop: Project) -> None:
    (shop.overlay / "builtin").unlink()
    (shop.overlay / "builtin").mkdir()

    link_builtin(shop)

    assert not (shop.overlay / "builtin").is_symlink()
