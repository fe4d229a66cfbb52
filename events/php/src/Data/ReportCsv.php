<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * How a CSV file is written: UTF-8, a header, lines that end with CR LF (RFC 4180), numbers with a point.
 *
 * With a `locale` numbers have its decimal sign, as the spreadsheets of its readers expect. `guard_formulas` puts an
 * apostrophe before a text that a spreadsheet would take for a formula.
 */
final class ReportCsv extends Fields
{
    /**
     * @param '\t'|','|';'|'|'|null $delimiter default: a comma, or where the locale's decimal sign is one a semicolon
     * @param string|null $locale such as de
     * @param bool|null $byteOrderMark default: false
     * @param bool|null $guardFormulas default: true
     */
    public function __construct(
        ?string $delimiter = null,
        ?string $locale = null,
        ?bool $byteOrderMark = null,
        ?bool $guardFormulas = null,
    ) {
        parent::__construct([
            'delimiter' => $delimiter,
            'locale' => $locale,
            'byte_order_mark' => $byteOrderMark,
            'guard_formulas' => $guardFormulas,
        ]);
    }
}
