<?php

declare(strict_types=1);

namespace Errands\Data;

/** What the PDF says of itself, instead of what the template says. */
final class ReportMetadata extends Fields
{
    /** @param list<string>|null $keywords */
    public function __construct(
        ?string $title = null,
        ?string $author = null,
        ?string $subject = null,
        ?array $keywords = null,
    ) {
        parent::__construct([
            'title' => $title,
            'author' => $author,
            'subject' => $subject,
            'keywords' => $keywords,
        ]);
    }
}
