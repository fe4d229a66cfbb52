<?php

declare(strict_types=1);

namespace Errands\Data;

/** Where to meet online, or which number to call (RFC 7986 5.11). */
final class Conference extends Fields
{
    /** @param list<'audio'|'chat'|'feed'|'moderator'|'phone'|'screen'|'video'>|null $features */
    public function __construct(
        string $url,
        ?string $label = null,
        ?array $features = null,
    ) {
        parent::__construct([
            'url' => $url,
            'label' => $label,
            'features' => $features,
        ]);
    }
}
