<?php

declare(strict_types=1);

namespace Errands\Data;

/** A table of contents on pages of its own before the document, made of its headings. */
final class ReportContents extends Fields
{
    /** @param int|null $depth 1: only h1; default: 2 */
    public function __construct(
        ?string $title = null,
        ?int $depth = null,
    ) {
        parent::__construct([
            'title' => $title,
            'depth' => $depth,
        ]);
    }
}
