<?php

declare(strict_types=1);

namespace Errands\Data;

/** A picture of an event or a feed (RFC 7986 5.10). */
final class CalendarImage extends Fields
{
    /**
     * @param string|null $name a file's name in any language, no path
     * @param 'badge'|'fullsize'|'graphic'|'thumbnail'|null $display
     */
    public function __construct(
        ?string $url = null,
        ?string $dataBase64 = null,
        ?string $mediaType = null,
        ?string $name = null,
        ?string $display = null,
    ) {
        parent::__construct([
            'url' => $url,
            'data_base64' => $dataBase64,
            'media_type' => $mediaType,
            'name' => $name,
            'display' => $display,
        ]);
    }
}
