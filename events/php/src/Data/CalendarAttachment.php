<?php

declare(strict_types=1);

namespace Errands\Data;

/** A file of an event: exactly one of a `url` and `data_base64` inline. */
final class CalendarAttachment extends Fields
{
    /** @param string|null $name a file's name in any language, no path */
    public function __construct(
        ?string $url = null,
        ?string $dataBase64 = null,
        ?string $mediaType = null,
        ?string $name = null,
    ) {
        parent::__construct([
            'url' => $url,
            'data_base64' => $dataBase64,
            'media_type' => $mediaType,
            'name' => $name,
        ]);
    }
}
