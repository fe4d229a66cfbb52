<?php

declare(strict_types=1);

namespace Errands\Data;

/** A file embedded in the PDF, such as the XML of an e-invoice; `relationship` is PDF/A-3's. */
final class ReportAttachment extends Fields
{
    /**
     * @param string $name a file's name in any language, no path
     * @param array<string, string> $source
     * @param 'alternative'|'data'|'source'|'supplement'|'unspecified'|null $relationship default: unspecified
     */
    public function __construct(
        string $name,
        array $source,
        ?string $description = null,
        ?string $relationship = null,
    ) {
        parent::__construct([
            'name' => $name,
            'source' => $source,
            'description' => $description,
            'relationship' => $relationship,
        ]);
    }
}
