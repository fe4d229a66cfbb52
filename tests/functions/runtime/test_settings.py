"""Settings: the environment into a frozen dataclass, or one line that names all that is wrong."""

from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from functions.runtime.settings import from_environment


@dataclass(frozen=True)
class Settings:
    """One field of each kind."""

    store_url: str
    secret: str = field(repr=False)
    limit_bytes: int = 1_000
    timeout_s: float = 1.5
    debug: bool = False
    public_url: str | None = None
    width_px: int | None = None
    names: str = field(default_factory=lambda: "a b")


GIVEN = {"STORE_URL": "memory:///", "SECRET": "s"}


def refused(environment: dict[str, str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        from_environment(Settings, environment)
    return str(stopped.value)


def test_what_is_not_given_has_its_default() -> None:
    assert from_environment(Settings, GIVEN) == Settings("memory:///", "s", 1_000, 1.5, False, None, None, "a b")


def test_each_field_takes_its_own_type() -> None:
    more = {"LIMIT_BYTES": "5", "TIMEOUT_S": "2", "DEBUG": "True", "PUBLIC_URL": "/x", "WIDTH_PX": "7", "NAMES": "c"}

    settings = from_environment(Settings, GIVEN | more)

    assert settings == Settings("memory:///", "s", 5, 2.0, True, "/x", 7, "c")
    assert isinstance(settings.timeout_s, float)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    empty = {"LIMIT_BYTES": "", "PUBLIC_URL": ""}

    assert from_environment(Settings, GIVEN | empty) == from_environment(Settings, GIVEN)
    assert refused(GIVEN | {"SECRET": ""}) == "this function cannot start: SECRET is required and is not set"


def test_all_that_is_wrong_is_named_in_one_line_and_no_value_is_shown() -> None:
    wrong = dict.fromkeys(["SECRET", "LIMIT_BYTES", "TIMEOUT_S", "DEBUG", "WIDTH_PX"], "hunter2")

    line = refused(wrong)

    assert line == (
        "this function cannot start: STORE_URL is required and is not set; LIMIT_BYTES must be a number (int); "
        "TIMEOUT_S must be a number (float); DEBUG must be true or false; WIDTH_PX must be a number (int)"
    )
    assert "hunter" not in line


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
def test_a_number_is_finite(text: str) -> None:
    assert refused(GIVEN | {"TIMEOUT_S": text}) == "this function cannot start: TIMEOUT_S must be a number (float)"


@pytest.mark.parametrize("text", ["1", "yes", "on", "0", "wahr"])
def test_a_switch_is_true_or_false_and_nothing_else(text: str) -> None:
    assert refused(GIVEN | {"DEBUG": text}) == "this function cannot start: DEBUG must be true or false"


def test_a_rule_of_the_settings_themselves_stops_the_start_in_the_same_way() -> None:
    @dataclass(frozen=True)
    class Ruled:
        port: int = 80

        def __post_init__(self) -> None:
            if self.port > 65_535:
                raise ValueError("PORT must be at most 65535")

    with pytest.raises(SystemExit, match=r"^this function cannot start: PORT must be at most 65535$"):
        from_environment(Ruled, {"PORT": "65536"})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", "memory:///")
    monkeypatch.setenv("SECRET", "s")
    monkeypatch.setenv("LIMIT_BYTES", "42")

    assert from_environment(Settings).limit_bytes == 42


def test_settings_are_frozen_and_a_secret_is_not_in_their_text() -> None:
    settings = from_environment(Settings, GIVEN | {"SECRET": "hunter2"})

    assert "hunter2" not in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.secret = "other"  # type: ignore[misc]  # what the test is about
