<?php

declare(strict_types=1);

namespace Errands\Data;

/** One document to make from the template's single run; `csv` and `xlsx` hold the rows of its tables. */
final class ReportOutput extends Fields
{
    /**
     * @param string $name a file's name in any language, no path
     * @param 'csv'|'html'|'pdf'|'xlsx'|null $format default: pdf
     */
    public function __construct(
        string $name,
        ?string $format = null,
        ?ReportPdf $pdf = null,
        ?ReportCsv $csv = null,
    ) {
        parent::__construct([
            'name' => $name,
            'format' => $format,
            'pdf' => $pdf,
            'csv' => $csv,
        ]);
    }
}
