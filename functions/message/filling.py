"""Fills a message's templates with its data, in a child process (functions/sandbox/sandbox.py): nothing else imports
this.

The HTML escapes what is filled in; subject and text do not.
"""

from typing import Final

from functions.message.templates import Filled, Templates
from functions.templating.template import Conventions, TemplateRefused, rendered

LIMIT_CHARACTERS: Final = {"subject": 500, "text": 100_000, "html": 100_000}  # as of the job's own fields


def fill(templates: Templates) -> Filled:
    """Raise ValueError that names the field, and its line, that is wrong."""
    conventions = Conventions(locale=templates.locale, currency=templates.currency, zone=templates.zone)
    return Filled(texts={field: _filled(field, templates, conventions) for field in templates.sources})


def _filled(field: str, templates: Templates, conventions: Conventions) -> str:
    try:
        text = rendered(templates.sources[field], templates.data, conventions, autoescape=field == "html")
    except TemplateRefused as error:
        raise ValueError(f"{field}: {error}") from error
    if len(text) > LIMIT_CHARACTERS[field]:
        raise ValueError(f"{field} must be at most {LIMIT_CHARACTERS[field]} characters when filled, got {len(text)}")
    return text
