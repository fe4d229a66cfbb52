"""A dashboard's data: figures with their trends, charts, and a table of each chart's numbers for XLSX and CSV."""

from typing import Annotated, Literal

from msgspec import Meta

from events.types import Request, Text
from events.types.report import ReportColumn
from functions.report.language import Code, Language, Zone
from functions.report.number import Currency, Number
from functions.report.parts import DEFAULT_ACCENT, Accent, Paragraph
from functions.report.sheet import Sheet

Unit = Literal["number", "money", "percent"]
Label = Annotated[str, Meta(max_length=60)]


class Figure(Request, frozen=True, kw_only=True):
    """One number that matters; `change_percent` is against the time before, `trend` a sparkline."""

    label: Label
    value: Number
    unit: Unit = "number"
    change_percent: Number | None = None
    trend: Annotated[tuple[Number, ...], Meta(max_length=200)] = ()


class Series(Request, frozen=True, kw_only=True):
    """One line, or one colour of bars; a value may be absent."""

    name: Label
    values: Annotated[tuple[Number | None, ...], Meta(max_length=400)]


class Chart(Request, frozen=True, kw_only=True):
    """A chart: `labels` are the places on the axis, or the slices of a donut, whose values are at least 0."""

    title: Text
    kind: Literal["bar", "line", "stacked", "donut"]
    labels: Annotated[tuple[Label, ...], Meta(max_length=400)] = ()
    series: Annotated[tuple[Series, ...], Meta(max_length=12)] = ()
    unit: Unit = "number"
    wide: bool = False
    note: Paragraph | None = None

    def __post_init__(self) -> None:
        for each in self.series:
            if len(each.values) != len(self.labels):
                raise ValueError(
                    f"each series must have a value for each of the {len(self.labels)} labels, "
                    f"got {len(each.values)} of {each.name}"
                )
        if self.kind == "donut" and len(self.series) > 1:
            raise ValueError(f"a donut must have one series, got {len(self.series)}")
        if self.kind in ("donut", "stacked") and any(
            float(value) < 0 for each in self.series for value in each.values if value is not None
        ):
            raise ValueError(f"the values of a {self.kind} chart must be at least 0")


class Dashboard(Request, frozen=True, kw_only=True):
    """The data of the template `dashboard`."""

    title: Text
    subtitle: Text | None = None
    author: Text | None = None
    figures: Annotated[tuple[Figure, ...], Meta(max_length=24)] = ()
    charts: Annotated[tuple[Chart, ...], Meta(max_length=40)] = ()
    note: Paragraph | None = None
    currency: Currency | None = None
    accent: Accent = DEFAULT_ACCENT
    language: Code = "en"
    timezone: Zone = "UTC"

    def __post_init__(self) -> None:
        units = {each.unit for each in self.figures} | {each.unit for each in self.charts}
        if "money" in units and self.currency is None:
            raise ValueError("currency is required where a unit is money")


def rows_of(charts: tuple[Chart, ...]) -> list[list[int]]:
    """The places of the charts that stand side by side: two, or one that is wide."""
    rows: list[list[int]] = []
    for place, each in enumerate(charts):
        if rows and not each.wide and len(rows[-1]) == 1 and not charts[rows[-1][0]].wide:
            rows[-1].append(place)
        else:
            rows.append([place])
    return rows


def sheets(dashboard: Dashboard, language: Language) -> tuple[Sheet, ...]:
    """The figures, then a sheet for each chart with the series side by side."""
    currency = dashboard.currency
    figures = [{"label": each.label, "value": each.value} for each in dashboard.figures]
    labels = language.labels
    heads = (
        ReportColumn(name="label", label=labels["label"]),
        ReportColumn(name="value", label=labels["value"], kind="number"),
    )
    return (
        Sheet(dashboard.title, heads, figures, currency),
        *(_chart_sheet(each, currency, language) for each in dashboard.charts),
    )


def _chart_sheet(chart: Chart, currency: str | None, language: Language) -> Sheet:
    kind: Literal["money", "number"] = "money" if chart.unit == "money" else "number"
    names = [f"s{index}" for index in range(len(chart.series))]
    columns = (
        ReportColumn(name="label", label=language.labels["label"]),
        *(ReportColumn(name=n, label=s.name or n, kind=kind) for n, s in zip(names, chart.series, strict=True)),
    )
    rows = [
        {"label": label, **{n: s.values[place] for n, s in zip(names, chart.series, strict=True)}}
        for place, label in enumerate(chart.labels)
    ]
    return Sheet(chart.title, columns, rows, currency)
