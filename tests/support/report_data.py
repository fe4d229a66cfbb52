"""Data for every built-in template: short, long, right-to-left and empty."""

from typing import Any

ARABIC = "شركة المثال للتجارة والتوريدات"
HEBREW = "חברת הדוגמה בע״מ"
CJK = "株式会社サンプル 東京支店"
LONG = (
    "A sentence that goes on for longer than a line, so that it has to be broken, and that holds one "
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft of a word. "
)

SELLER = {"name": "Shop GmbH", "address": ["Hauptstraße 1", "10115 Berlin"], "vat_id": "DE123456789"}
BUYER = {"name": "Client Ltd", "address": ["1 High Street", "London"], "email": "pay@client.example"}
LONG_PARTY = {"name": (LONG * 2)[:200], "address": [f"{index}: {LONG}"[:90] for index in range(8)], "vat_id": "X" * 60}
RTL_PARTY = {"name": ARABIC, "address": ["شارع الملك فهد ١٢٣", "الرياض", HEBREW], "vat_id": "300012345600003"}
PAYMENT = {"text": "Within 14 days.", "iban": "DE89 3704 0044 0532 0130 00", "reference": "2026-1042"}
COLUMNS = [
    {"name": "customer", "label": "Customer"},
    {"name": "region"},
    {"name": "day", "label": "Day", "kind": "date"},
    {"name": "quantity", "kind": "number", "total": True},
    {"name": "net", "label": "Net", "kind": "money", "total": True},
]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
SIGNATURES = [{"name": "Ada Example", "role": "Director"}, {"name": "Ben Example", "role": "Head of training"}]


def line(**changes: Any) -> dict[str, Any]:
    return {"description": "Hosting", "quantity": 1, "unit_price": "49.90", "tax_percent": "19", **changes}


def invoice(**changes: Any) -> dict[str, Any]:
    fixed = {"number": "2026-1042", "issued": "2026-11-22", "currency": "EUR", "seller": SELLER, "buyer": BUYER}
    return {**fixed, "lines": [line()], **changes}


def letter(**changes: Any) -> dict[str, Any]:
    return {"sender": SELLER, "recipient": BUYER, "written": "2026-11-22", **changes}


def orders(count: int) -> list[dict[str, Any]]:
    regions = ["North", "South", "East"]
    return [
        {
            "customer": f"Client {index}",
            "region": regions[index % 3],
            "day": f"2026-03-{index % 28 + 1:02}",
            "quantity": index % 7,
            "net": "10.01",
        }
        for index in range(count)
    ]


def table(**changes: Any) -> dict[str, Any]:
    return {"title": "Orders", "subtitle": "March 2026", "currency": "EUR", "columns": COLUMNS, "rows": [], **changes}


def chart(kind: str, **changes: Any) -> dict[str, Any]:
    series = [{"name": "2025", "values": [12, 15.5, 9, 21, 18, 25, 30, 28, 26, 24, 31, 40]}]
    if kind != "donut":
        series += [{"name": "2026", "values": [14, 17, 12, 20, None, 29, 33, 30, 31, 27, 38, 46]}]
    return {"title": f"A {kind} chart", "kind": kind, "labels": MONTHS, "series": series, **changes}


DONUT = {
    "title": "Revenue by channel",
    "kind": "donut",
    "unit": "percent",
    "labels": ["Shop", "Partners", "Phone"],
    "series": [{"name": "share", "values": [62, 30, 8]}],
}
FIGURES = [
    {"label": "Revenue", "value": "1284500.5", "unit": "money", "change_percent": 12.5, "trend": [3, 4, 3, 5, 6, 8]},
    {"label": "Orders", "value": 4210, "change_percent": -3, "trend": [9, 8, 8, 7, 8, 6]},
    {"label": "Return rate", "value": 2.4, "unit": "percent"},
    {"label": "Open tickets", "value": 0, "trend": [4, 4]},
]

GERMAN_SELLER = {
    "name": "Beispiel GmbH",
    "address": ["Abteilung Vertrieb"],
    "street": "Gänsemarkt 12",
    "postcode": "20354",
    "city": "Hamburg",
    "country": "DE",
    "vat_id": "DE123456789",
    "tax_number": "22/815/08154",
    "email": "rechnung@beispiel.example",
}
GERMAN_BUYER = {
    "name": "Kunde AG",
    "street": "Weg 1",
    "postcode": "10115",
    "city": "Berlin",
    "country": "DE",
    "email": "eingang@kunde.example",
}
AUSTRIAN_BUYER = {
    "name": "Kunde GmbH",
    "street": "Ring 1",
    "postcode": "1010",
    "city": "Wien",
    "country": "AT",
    "vat_id": "ATU12345678",
}
SWISS_SELLER = {
    "name": "Muster Möbel AG",
    "street": "Bahnhofstrasse 12",
    "postcode": "8001",
    "city": "Zürich",
    "country": "CH",
    "vat_id": "CHE-123.456.789 MWST",
}
SWISS_BUYER = {
    "name": "Kundin Beispiel",
    "street": "Rue du Lac 3",
    "postcode": "1003",
    "city": "Lausanne",
    "country": "CH",
}
GERMAN_LINES = [
    line(description="Tisch\nEiche, geölt", quantity=2, unit="Stk.", unit_code="H87", unit_price="899.00"),
    line(description="Fachbuch", quantity=3, unit_price="24.215", tax_percent="7"),
    line(description="Rabatt", unit_price="-50"),
]
EPC_PAYMENT = {**PAYMENT, "bic": "COBADEFFXXX", "code": "epc"}
SWISS_PAYMENT = {"iban": "CH44 3199 9123 0008 8901 2", "reference": "210000000003139471430009017", "code": "swiss"}


def german_invoice(**changes: Any) -> dict[str, Any]:
    """With all that an e-invoice needs."""
    fixed = {"language": "de", "seller": GERMAN_SELLER, "buyer": GERMAN_BUYER, "lines": GERMAN_LINES}
    return {**invoice(due="2026-12-06", delivered="2026-11-20", **fixed), **changes}


def untaxed_invoice(kind: str, **changes: Any) -> dict[str, Any]:
    return german_invoice(**{"exemption": {"kind": kind}, "lines": [line(tax_percent=0)], **changes})


E_INVOICES: dict[str, dict[str, Any]] = {
    "german": german_invoice(payment=EPC_PAYMENT, note="Vielen Dank."),
    "period": german_invoice(
        delivered=None, due=None, period={"start": "2026-11-01", "end": "2026-11-30"}, payment={"text": "14 Tage netto"}
    ),
    "reverse-charge": untaxed_invoice("reverse-charge", buyer=AUSTRIAN_BUYER),
    "intra-community": untaxed_invoice("intra-community", buyer=AUSTRIAN_BUYER),
    "export": untaxed_invoice("export", buyer=SWISS_BUYER),
    "exempt": untaxed_invoice(
        "exempt",
        seller={**GERMAN_SELLER, "vat_id": None},
        exemption={"kind": "exempt", "text": "Gemäß § 19 UStG wird keine Umsatzsteuer berechnet."},
    ),
    "zero": untaxed_invoice("zero", lines=[line(tax_percent=0), line()]),
    "credit": german_invoice(lines=[line(quantity=-1)]),
    "dollars": german_invoice(currency="USD", buyer_reference="4711", payment={"iban": PAYMENT["iban"]}),
    "yen": german_invoice(currency="JPY", lines=[line(unit_price=1200, quantity="2.5")]),
    "swiss": german_invoice(
        language="de-CH",
        currency="CHF",
        seller=SWISS_SELLER,
        buyer=SWISS_BUYER,
        lines=[line(unit_price="1234567.8", tax_percent="8.1")],
        payment=SWISS_PAYMENT,
    ),
}

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "invoice": {
        "short": invoice(due="2026-12-06", payment=PAYMENT, note="Thank you for your business."),
        "long": invoice(
            number="N" * 60,
            seller=LONG_PARTY,
            buyer=LONG_PARTY,
            lines=[
                line(
                    description=f"{index}. {LONG}", unit_price="123456789.50", quantity=index, tax_percent=index % 3 * 7
                )
                for index in range(1, 61)
            ],
            payment=PAYMENT,
            note=LONG * 8,
        ),
        "rtl": invoice(
            language="ar",
            seller=RTL_PARTY,
            buyer={**RTL_PARTY, "name": HEBREW},
            lines=[line(description="استشارة فنية لشهر نوفمبر"), line(description="ייעוץ"), line(description=CJK)],
            note="شكرا لتعاملكم معنا.",
            payment=PAYMENT,
        ),
        "empty": invoice(seller={"name": "S"}, buyer={"name": "B"}, lines=[line(unit_price=0, quantity=0)]),
        "transfer": E_INVOICES["german"],
        "bill": E_INVOICES["swiss"],
        "untaxed": E_INVOICES["reverse-charge"],
    },
    "letter": {
        "short": letter(
            subject="Your order 1042",
            place="Berlin",
            reference="1042",
            salutation="Dear Ms Client,",
            paragraphs=["Thank you for your order.", "It leaves our house tomorrow."],
            closing="Kind regards",
            signatures=SIGNATURES,
            enclosures=["Invoice", "Delivery note"],
        ),
        "long": letter(
            sender=LONG_PARTY,
            recipient=LONG_PARTY,
            subject=LONG,
            paragraphs=[LONG * 4] * 12,
            closing="Kind regards",
            signatures=[*SIGNATURES, {"name": LONG[:150], "role": LONG[:150]}],
            enclosures=[LONG] * 5,
        ),
        "rtl": letter(
            language="ar",
            sender=RTL_PARTY,
            recipient={"name": HEBREW, "address": [CJK]},
            subject="طلبكم رقم 1042",
            salutation="السادة الكرام،",
            paragraphs=["نشكركم على طلبكم. سيتم الشحن غدا إن شاء الله، والفاتورة مرفقة بهذه الرسالة." * 3, "תודה רבה."],
            closing="مع خالص التحية",
            signatures=[{"name": "أحمد المثال", "role": "المدير"}],
            enclosures=["الفاتورة"],
        ),
        "empty": letter(sender={"name": "S"}, recipient={"name": "R"}),
    },
    "table": {
        "short": table(rows=orders(9), group_by="region"),
        "long": table(
            title=LONG,
            subtitle=LONG,
            columns=[
                *COLUMNS,
                {"name": "note", "label": "A note with a long label"},
                *({"name": f"figure_{index}", "kind": "number"} for index in range(6)),
            ],
            rows=[
                {**each, "note": LONG * (index % 3), **{f"figure_{n}": 1000 * n + index for n in range(6)}}
                for index, each in enumerate(orders(60))
            ],
            landscape=True,
            group_by="region",
        ),
        "rtl": table(
            language="ar",
            title="تقرير الطلبات",
            subtitle=HEBREW,
            columns=[{"name": "customer", "label": "العميل"}, *COLUMNS[1:]],
            rows=[{**each, "customer": [ARABIC, HEBREW, CJK][index % 3]} for index, each in enumerate(orders(9))],
            group_by="region",
        ),
        "empty": table(),
    },
    "dashboard": {
        "short": {
            "title": "Sales",
            "subtitle": "2026 against 2025",
            "currency": "EUR",
            "figures": FIGURES,
            "charts": [
                chart("bar"),
                chart("line", unit="money"),
                chart("stacked", wide=True, series=chart("bar")["series"][:1] * 3),
                DONUT,
                chart("donut", title="Twelve slices", note="Of all regions."),
            ],
            "note": "Figures are provisional.",
        },
        "long": {
            "title": LONG,
            "subtitle": LONG,
            "currency": "EUR",
            "figures": [{**each, "label": LONG[:60], "value": "123456789012.5"} for each in FIGURES * 3],
            "charts": [
                chart(
                    kind,
                    title=LONG,
                    labels=[f"{LONG[:30]} {index}" for index in range(300)],
                    series=[
                        {"name": LONG[:60], "values": [(index * each) % 97 * 1_000_000 for index in range(300)]}
                        for each in range(1, 13)
                    ],
                )
                for kind in ("bar", "line", "stacked")
            ]
            + [{**DONUT, "labels": [LONG[:60]] * 3}],
            "note": LONG * 10,
        },
        "rtl": {
            "title": "لوحة المبيعات",
            "subtitle": HEBREW,
            "language": "ar",
            "currency": "SAR",
            "figures": [{**each, "label": "الإيرادات"} for each in FIGURES],
            "charts": [
                chart(
                    "bar",
                    title="حسب الشهر",
                    labels=["يناير", "فبراير", "مارس"],
                    series=[{"name": "المبيعات", "values": [-3, 5, 8]}, {"name": HEBREW, "values": [2, 4, -6]}],
                ),
                {**DONUT, "labels": ["متجر", "שותפים", "電話"]},
            ],
        },
        "empty": {"title": "Nothing yet", "charts": [{"title": "No data", "kind": "line"}]},
    },
    "certificate": {
        "short": {
            "title": "Certificate of Completion",
            "issuer": "Example Academy",
            "recipient": "Ada Lovelace",
            "text": "has completed the course Analytical Engines with distinction.",
            "awarded": "2026-11-22",
            "number": "No. 1042",
            "signatures": SIGNATURES,
        },
        "long": {
            "title": LONG,
            "issuer": LONG,
            "recipient": LONG,
            "text": LONG * 9,
            "awarded": "2026-11-22",
            "number": "1" * 80,
            "signatures": [*SIGNATURES, {"name": LONG[:100], "role": LONG[:100]}],
        },
        "rtl": {
            "title": "شهادة إتمام",
            "issuer": ARABIC,
            "recipient": "محمد عبد الله",
            "text": "أتم بنجاح دورة المحركات التحليلية بتقدير ممتاز.",
            "awarded": "2026-11-22",
            "language": "ar",
            "signatures": [{"name": "أحمد", "role": "المدير"}],
        },
        "empty": {"title": "Certificate", "issuer": "I", "recipient": "R"},
    },
}
