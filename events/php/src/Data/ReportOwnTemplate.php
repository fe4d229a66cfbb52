<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * A template of the caller's own: Jinja2 and CSS, inline, or a `folder` in the store with all it needs.
 *
 * `schema` is the JSON Schema of its data; in a folder it is `schema.json`, the translations `translations.json`.
 */
final class ReportOwnTemplate extends Fields
{
    /**
     * @param string|null $file a file name, no path; default: template.html
     * @param array<string, mixed>|\stdClass|null $schema
     * @param string|null $locale such as en; default: en
     * @param string|null $currency a code of ISO 4217, such as EUR
     * @param string|null $timezone default: UTC
     * @param array<string, array<string, string>|\stdClass>|\stdClass|null $translations texts by language, then by
     *     text
     * @param list<ReportSheet>|null $sheets
     */
    public function __construct(
        ?string $html = null,
        ?string $css = null,
        ?string $folder = null,
        ?string $file = null,
        array|\stdClass|null $schema = null,
        ?string $locale = null,
        ?string $currency = null,
        ?string $timezone = null,
        array|\stdClass|null $translations = null,
        ?array $sheets = null,
    ) {
        parent::__construct([
            'html' => $html,
            'css' => $css,
            'folder' => $folder,
            'file' => $file,
            'schema' => self::map($schema),
            'locale' => $locale,
            'currency' => $currency,
            'timezone' => $timezone,
            'translations' => self::map($translations),
            'sheets' => $sheets,
        ]);
    }
}
