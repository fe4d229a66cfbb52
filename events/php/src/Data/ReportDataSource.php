<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * Data by reference. With a `field` it becomes that field of `data`; JSON without one is the data itself.
 *
 * JSON Lines and CSV are rows (default field `rows`); a CSV's first line names the columns, an empty cell is absent.
 */
final class ReportDataSource extends Fields
{
    /**
     * @param array<string, string> $source
     * @param 'csv'|'json'|'jsonl'|null $format default: json
     * @param '\t'|','|';'|'|'|null $delimiter default: ,
     */
    public function __construct(
        array $source,
        ?string $format = null,
        ?string $field = null,
        ?string $delimiter = null,
    ) {
        parent::__construct([
            'source' => $source,
            'format' => $format,
            'field' => $field,
            'delimiter' => $delimiter,
        ]);
    }
}
