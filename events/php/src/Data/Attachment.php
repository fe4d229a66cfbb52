<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * A file sent along: inline, or from the store (the `key` of an earlier job's artefact).
 *
 * One with a `content_id` is shown within the HTML, which names it as `cid:` and the content_id.
 */
final class Attachment extends Fields
{
    /**
     * @param string $name a file's name in any language, no path
     * @param array<string, string> $source
     * @param string|null $mediaType such as image/png; default: application/octet-stream
     * @param string|null $contentId such as logo
     */
    public function __construct(
        string $name,
        array $source,
        ?string $mediaType = null,
        ?string $contentId = null,
    ) {
        parent::__construct([
            'name' => $name,
            'source' => $source,
            'media_type' => $mediaType,
            'content_id' => $contentId,
        ]);
    }
}
