"""Writes the typed builders of jobs in PHP, `events/php/src/{Jobs,Data}/`, from the JSON Schemas: `make schemas`.

A job's class has a method for each field of its data, a struct within it a class whose constructor has a parameter for
each of its own. What is left out is not sent, so that Errands' own default holds.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from events.schema import FOLDER

SOURCES: Final = Path(__file__).parent / "php/src"
JOBS: Final = ("ics", "image", "report", "message", "fetch", "signal")  # what an API asks for
METHODS: Final[Mapping[tuple[str, str], str]] = {("image", "source"): "from"}  # where the field's own name reads badly
OWN: Final = frozenset({"Input"})  # written by hand: Errands\Input
WIDTH: Final = 120
UNBROKEN: Final = "\u00a0"  # a blank at which no line ends
HEAD: Final = "<?php\n\ndeclare(strict_types=1);\n\nnamespace Errands\\{space};\n\n"
INPUT: Final = "Bytes to work on: Input::bytes(), Input::url(), Input::key()."
PLAIN: Final = {"string": "string", "integer": "int", "number": "int|float", "boolean": "bool"}

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is: as PHP declares it, and as its documentation says more closely."""

    native: str
    documented: str

    def or_null(self) -> "Kind":
        """The same, or nothing."""
        if self.native == "mixed":
            return self
        native = f"{self.native}|null" if "|" in self.native else f"?{self.native}"
        return Kind(native, f"{self.documented}|null")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct."""

    name: str
    schema: Schema
    is_required: bool

    @property
    def variable(self) -> str:
        """Its name in PHP."""
        first, *others = self.name.split("_")
        return first + "".join(each.capitalize() for each in others)

    @property
    def kind(self) -> Kind:
        """What it holds where it is given."""
        return kind(self.schema)

    @property
    def is_map(self) -> bool:
        """Whether it is an object in JSON also when it is empty."""
        return any(each.get("type") == "object" for each in ways(self.schema))

    @property
    def words(self) -> str:
        """What the schema says of it."""
        found = [self.schema, *ways(self.schema)]
        said = next((each["description"] for each in found if "description" in each), "")
        examples: list[Any] = next((each["examples"] for each in found if "examples" in each), [])
        default = self.schema.get("default")
        parts = [
            said,
            f"such as {shown(examples[0])}" if examples and not said else "",
            f"default: {shown(default)}" if default not in (None, [], {}) and "default" not in said else "",
        ]
        return "; ".join(filter(None, parts)).replace("*/", "* /")


def ways(schema: Schema) -> list[Schema]:
    """What a value may be, but null."""
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]


def kind(schema: Schema) -> Kind:
    """The kind of what is not null."""
    found = [one_kind(each) for each in ways(schema)]
    natives = "|".join(dict.fromkeys(each.native for each in found))
    return Kind(natives, "|".join(dict.fromkeys(each.documented for each in found)))


def one_kind(schema: Schema) -> Kind:
    """The kind of a schema that is no choice."""
    if "$ref" in schema:
        name = struct_name(schema)
        return Kind("array", "array<string, string>") if name in OWN else Kind(name, name)
    if "enum" in schema:
        documented = "|".join(f"'{each}'" if isinstance(each, str) else str(each) for each in schema["enum"])
        return Kind("string" if isinstance(schema["enum"][0], str) else "int", documented.replace("\t", "\\t"))
    if schema.get("type") == "array":
        return Kind("array", f"list<{kind(schema['items']).documented}>")
    if schema.get("type") == "object":
        within = schema.get("additionalProperties")
        values = kind(within).documented if isinstance(within, dict) else "mixed"
        return Kind("array|\\stdClass", f"array<string, {values}>|\\stdClass")
    native = PLAIN.get(schema.get("type", ""), "mixed")
    return Kind(native, native)


def struct_name(schema: Schema) -> str:
    """The struct that a reference names; nothing of what is none."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def shown(value: Any) -> str:
    """A value as the documentation shows it."""
    return json.dumps(value, ensure_ascii=False).strip('"')


def fields(struct: Schema) -> list[Field]:
    """Those of a struct, what is required first, as PHP wants it."""
    required = struct.get("required", [])
    found = [Field(name, schema, name in required) for name, schema in struct.get("properties", {}).items()]
    return sorted(found, key=lambda each: not each.is_required)


def files() -> dict[str, str]:
    """The text of every file, by its path below `src/`."""
    made: dict[str, str] = {}
    described: dict[str, str] = {}
    for job in JOBS:
        schema = json.loads((FOLDER / f"{type_of(job)}.json").read_text())
        structs = schema["$defs"]
        request = structs.pop(struct_name(schema))
        described[job] = request.get("description", "")
        made[f"Jobs/{job.capitalize()}Job.php"] = job_class(job, request, structs)
        for name, struct in structs.items():
            text = struct_class(name, struct)
            if name not in OWN and made.setdefault(f"Data/{name}.php", text) != text:
                raise ValueError(f"two schemas describe {name}, and not alike")
    made["Jobs/Factories.php"] = factories(described)
    return made


def type_of(job: str) -> str:
    """The type of a job's request."""
    return f"dev.errands.{job}.requested.v1"


def struct_class(name: str, struct: Schema) -> str:
    """The class of a struct."""
    found = fields(struct)
    values = "".join(f"            '{each.name}' => {value(each)},\n" for each in found)
    return (
        HEAD.format(space="Data")
        + comment(struct.get("description", name), "")
        + f"final class {name} extends Fields\n{{\n"
        + signature_comment(found)
        + f"    public function __construct(\n{parameters(found)}    ) {{\n"
        + f"        parent::__construct([\n{values}        ]);\n    }}\n}}\n"
    )


def value(field: Field) -> str:
    """A parameter as it is kept."""
    return f"self::map(${field.variable})" if field.is_map else f"${field.variable}"


def parameters(found: list[Field]) -> str:
    """Those of a function, a line for each."""
    return "".join(
        f"        {each.kind.native} ${each.variable},\n"
        if each.is_required
        else f"        {each.kind.or_null().native} ${each.variable} = null,\n"
        for each in found
    )


def signature_comment(found: list[Field], head: str = "") -> str:
    """What the signature cannot say of parameters; nothing where it says all."""
    lines = []
    for each in found:
        known = each.kind if each.is_required else each.kind.or_null()
        if each.words or known.native.replace("?", "") != known.documented.replace("|null", ""):
            declared = f"@param {known.documented} ${each.variable}".replace(" ", UNBROKEN)
            lines.append(f"{declared} {each.words}".rstrip())
    paragraphs = [head, "\n".join(lines)]
    return comment("\n\n".join(filter(None, paragraphs)), "    ") if any(paragraphs) else ""


def comment(words: str, indent: str) -> str:
    """A documentation comment, within the line width; paragraphs stay."""
    lines = []
    for each in words.replace("*/", "* /").splitlines():
        within = "    " if each.startswith("@") else ""
        width = WIDTH - len(indent) - 3
        wrapped = textwrap.wrap(each, width, subsequent_indent=within, break_long_words=False, break_on_hyphens=False)
        lines += [line.replace(UNBROKEN, " ") for line in wrapped] or [""]
    if len(lines) == 1 and len(lines[0]) + len(indent) + 7 <= WIDTH:
        return f"{indent}/** {lines[0]} */\n"
    return "".join([f"{indent}/**\n", *(f"{indent} * {each}".rstrip() + "\n" for each in lines), f"{indent} */\n"])


def job_class(job: str, request: Schema, structs: Mapping[str, Schema]) -> str:
    """The builder of a job."""
    found = fields(request)
    methods = [method(job, each, structs) for each in found]
    maps = ", ".join(f"'{each.name}'" for each in found if each.is_map)
    text = f"final class {job.capitalize()}Job extends Job\n{{\n    public const TYPE = '{type_of(job)}';\n"
    text += f"    protected const MAPS = [{maps}];\n" if maps else ""
    text += "".join(f"\n{each}" for each in methods) + "}\n"
    used = sorted({each for each in [*structs] if each not in OWN and re.search(rf"\b{each}\b", text)})
    uses = "".join(f"use Errands\\Data\\{each};\n" for each in used) + "use Errands\\Job;\n\n"
    return HEAD.format(space="Jobs") + uses + comment(request.get("description", job), "") + text


def method(job: str, field: Field, structs: Mapping[str, Schema]) -> str:
    """What sets a field, or adds to it where it is a list."""
    items = field.schema.get("items", {})
    if struct_name(items) in structs:
        return adder(field, struct_name(items), structs[struct_name(items)])
    name = METHODS.get((job, field.name), field.variable)
    if field.schema.get("type") == "array":
        given = Field(field.name, {**items, "description": field.words}, True)
        return setter(name, given, f"{given.kind.native} ...", f"add('{field.name}', ...${field.variable})")
    given = Field(field.name, field.schema, True)
    return setter(name, given, f"{given.kind.native} ", f"put('{field.name}', ${field.variable})")


def setter(name: str, field: Field, declared: str, call: str) -> str:
    """A method of one parameter."""
    head = signature_comment([field], INPUT if is_input(field) else "")
    signature = f"    public function {name}({declared}${field.variable}): static\n"
    return f"{head}{signature}    {{\n        return $this->{call};\n    }}\n"


def is_input(field: Field) -> bool:
    """Whether it is what Errands\\Input makes."""
    return any(struct_name(each) in OWN for each in ways(field.schema))


def adder(field: Field, name: str, struct: Schema) -> str:
    """What adds a struct to a list, by the struct's own parameters."""
    found = fields(struct)
    arguments = ", ".join(f"${each.variable}" for each in found)
    wrapped = textwrap.fill(
        f"return $this->add('{field.name}', new {name}({arguments}));",
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
    )
    head = signature_comment(found, struct.get("description", ""))
    opened = f"    public function {field.variable.removesuffix('s')}(\n{parameters(found)}    ): static {{\n"
    return f"{head}{opened}{wrapped}\n    }}\n"


def factories(described: Mapping[str, str]) -> str:
    """The trait by which `Job::image()` begins one."""
    methods = []
    for job, words in described.items():
        head = comment(f"{words}\n\n@param array<string, mixed> $data fields that are known already", "    ")
        methods.append(
            f"{head}    public static function {job}(array $data = []): {job.capitalize()}Job\n    {{\n"
            f"        return {job.capitalize()}Job::made({job.capitalize()}Job::TYPE, $data);\n    }}\n"
        )
    words = "Begins a job of each type: `Job::image()`, or `Job::image([...])` with the data as an array."
    return HEAD.format(space="Jobs") + comment(words, "") + "trait Factories\n{\n" + "\n".join(methods) + "}\n"


def written() -> Iterator[Path]:
    """The files that are there, but for what is written by hand."""
    for folder in ("Jobs", "Data"):
        yield from (each for each in (SOURCES / folder).glob("*.php") if each.name != "Fields.php")


def main() -> None:
    """Write every file, and remove those of what is gone."""
    for stale in written():
        stale.unlink()
    for path, text in files().items():
        (SOURCES / path).write_text(text)


if __name__ == "__main__":
    main()
