<?php

declare(strict_types=1);

namespace Errands\Data;

/** The invitation as a part of an e-mail: `text` (default: what, when and where), `html`, and the calendar. */
final class EmailPart extends Fields
{
    public function __construct(
        ?string $text = null,
        ?string $html = null,
    ) {
        parent::__construct([
            'text' => $text,
            'html' => $html,
        ]);
    }
}
