"""Templates from strangers: Jinja2 in its sandbox, with filters that write numbers, money and dates by locale (Babel).

Autoescape is on unless the template makes plain text: data is text, whatever it holds. A template gets plain data alone
(dicts, lists, texts, numbers, dates), never an object of ours. Jinja's sandbox keeps it from Python's internals and
stops neither an endless loop nor `"a" * 10**9`: render in a child process with limits (functions/sandbox/sandbox.py),
which is where this module is imported.

    ValueError
      TemplateRefused    the template is wrong, or does not fit its data; the message has its name and line
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2
from babel import Locale, UnknownLocaleError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from events.problem import JobFailed
from functions.templating.figures import check_currency, decimals_of, money_text, number_text, percent_text
from functions.templating.moments import date_text, datetime_text, shown, time_text

TemplateSource = Callable[[str], str | None]
Number = Decimal | int | float | str

MAIN: Final = "template"
# of Jinja's globals those that a document has no use for: lipsum makes megabytes in one call
_REMOVED: Final = ("lipsum",)
# of Jinja's filters those that write as many blanks as they are told
_OF_A_WIDTH: Final = ("indent", "center")
_WIDTH_LIMIT: Final = 1_000


class TemplateRefused(ValueError):
    """The template is wrong, does not fit its data, or reaches for what it may not."""


@dataclass(frozen=True)
class Conventions:
    """How a document writes: `locale` such as `de-CH`, the currency of amounts without one, the zone of moments.

    `translations` are texts by language: {"de": {"Invoice": "Rechnung"}}.
    """

    locale: str = "en"
    currency: str | None = None
    zone: str = "UTC"
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def babel(self) -> Locale:
        """Babel's locale; ValueError for one that does not exist."""
        try:
            return Locale.parse(self.locale, sep="-" if "-" in self.locale else "_")
        except (UnknownLocaleError, ValueError) as error:
            raise ValueError(f"locale must be one of CLDR's, such as en or de-CH, got {self.locale!r}") from error

    def check(self) -> None:
        """ValueError for a locale, a currency or a zone that does not exist."""
        _ = self.babel
        if self.currency is not None:
            check_currency(self.currency)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder of zones
            raise ValueError(f"timezone must be one of IANA's, such as Europe/Berlin, got {self.zone!r}") from error

    def translated(self, text: str, /, **values: object) -> str:
        """The text in the document's language, or as it is; `{name}` in it is replaced by a value."""
        for language in (self.locale, self.babel.language):
            if found := self.translations.get(language, {}).get(text):
                text = found
                break
        for name, value in values.items():  # not str.format: its fields reach into objects
            text = text.replace(f"{{{name}}}", str(value))
        return text


class PlainData(ImmutableSandboxedEnvironment):
    """In which `data.items` is the data's own key `items`, where there is one, and not the method of a dict."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As Jinja's, but a key of a dict comes before its attributes."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def environment(
    conventions: Conventions,
    load: TemplateSource | None = None,
    *,
    autoescape: bool = True,
    compiled: jinja2.BytecodeCache | None = None,
) -> jinja2.Environment:
    """A sandboxed environment; `load` gives a template's source by its name, or None; `compiled` keeps its code."""
    made = PlainData(
        loader=jinja2.FunctionLoader(_named(load or (lambda _: None))),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=compiled,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters(conventions) | {name: _narrow(name, made.filters[name]) for name in _OF_A_WIDTH}
    for name in _REMOVED:
        made.globals.pop(name)
    made.globals["_"] = conventions.translated
    return made


def rendered(source: str, data: Mapping[str, Any], conventions: Conventions, *, autoescape: bool = True) -> str:
    """One template that stands alone, with its data; TemplateRefused says what is wrong, and on which line."""
    return run(environment(conventions, {MAIN: source}.get, autoescape=autoescape), MAIN, data)


def run(made: jinja2.Environment, name: str, data: Mapping[str, Any]) -> str:
    """Render the environment's template of that name; TemplateRefused as above."""
    try:
        return made.get_template(name).render(data)
    except jinja2.TemplateNotFound as error:
        raise TemplateRefused(f"there is no template {error.name!r}") from error
    except jinja2.TemplateSyntaxError as error:
        raise TemplateRefused(f"{error.name or name}, line {error.lineno}: {error.message}") from error
    except (MemoryError, OSError, JobFailed):  # a limit, the pipe to the function, a file that the job may not have
        raise
    except Exception as error:
        # whatever else a stranger's template raises, `1 / 0` or an error of a library that it calls, is a mistake in it
        raise TemplateRefused(f"{_place(error, name)}: {error or type(error).__name__}") from error


def filters(conventions: Conventions) -> dict[str, Callable[..., str]]:
    """What templates call; numbers come as JSON numbers or as exact texts, days and moments as ISO 8601 texts too."""
    locale, zone = conventions.babel, ZoneInfo(conventions.zone)

    def money(value: Number, currency: str | None = None) -> str:
        """An amount with its currency's sign and decimals, rounded half up."""
        code = currency or conventions.currency
        if not code:
            raise TypeError("money expects a currency: money('EUR'), or the currency of the document")
        check_currency(code)
        return money_text(decimal_of(value), code, locale)

    def number(value: Number, decimals: int | None = None) -> str:
        """Grouped digits, rounded half up; without `decimals` as many as the value has."""
        exact = decimal_of(value)
        return number_text(exact, locale, decimals=_places(decimals, exact))

    return {
        "money": money,
        "number": number,
        "percent": lambda value: percent_text(decimal_of(value), locale),
        "date": lambda value, style="medium": date_text(value, style, zone, locale),
        "datetime": lambda value, style="medium": datetime_text(value, style, zone, locale),
        "time": lambda value, style="short": time_text(value, style, zone, locale),
        "t": conventions.translated,
    }


def decimal_of(value: object) -> Decimal:
    """The number as it was written; TypeError for what is none, or has more than 30 digits."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        raise TypeError(f"a number is expected, got {shown(value)}")
    try:
        exact = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):  # ValueError: an int of more than 4,300 digits
        raise TypeError(f"a number is expected, got {shown(value)}") from None
    if not exact.is_finite() or exact.adjusted() > 30:  # 1e999999 would be written out
        raise TypeError(f"a number below 1e30 is expected, got {shown(value)}")
    return exact


def _places(decimals: object, value: Decimal) -> int:
    if decimals is None:
        return min(decimals_of(value), 20)
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 20:
        raise TypeError(f"number expects 0 to 20 decimals, got {shown(decimals)}")
    return decimals


def _narrow(name: str, of_jinja: Callable[..., str]) -> Callable[..., str]:
    """Jinja's filter with a limit: a width of a thousand million is a mistake, and no matter of memory."""

    def narrow(value: object, *given: Any, **named: Any) -> str:
        width = named.get("width", given[0] if given else 0)
        if isinstance(width, int) and width > _WIDTH_LIMIT:
            raise TypeError(f"{name} expects a width of at most {_WIDTH_LIMIT:,}, got {shown(width)}")
        return of_jinja(value, *given, **named)

    return narrow


def _named(load: TemplateSource) -> Callable[[str], tuple[str, str, None] | None]:
    """With its name as the file's, which a traceback then shows."""

    def with_name(name: str) -> tuple[str, str, None] | None:
        source = load(name)
        return None if source is None else (source, f"<{name}>", None)

    return with_name


def _place(error: BaseException, name: str) -> str:
    """The template and line that the error came from: Jinja puts the template's own frames into the traceback."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith("<")]
    own = [each for each in frames if not each.filename.startswith(("<frozen", "<string"))]
    return f"{own[-1].filename.strip('<>')}, line {own[-1].lineno}" if own else name
