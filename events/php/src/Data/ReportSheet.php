<?php

declare(strict_types=1);

namespace Errands\Data;

/** Rows for CSV and XLSX from an own template's data: a list of objects in its field `rows`. */
final class ReportSheet extends Fields
{
    /**
     * @param list<ReportColumn> $columns
     * @param string|null $rows default: rows
     */
    public function __construct(
        array $columns,
        ?string $rows = null,
        ?string $title = null,
    ) {
        parent::__construct([
            'columns' => $columns,
            'rows' => $rows,
            'title' => $title,
        ]);
    }
}
