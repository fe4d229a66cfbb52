<?php

declare(strict_types=1);

namespace Errands\Data;

/** What a calendar that people subscribe to says of itself (RFC 7986), in the X- forms of the clients too. */
final class Feed extends Fields
{
    /**
     * @param string|null $url a page about it
     * @param string|null $sourceUrl where the feed itself is fetched from
     * @param string|null $timezone such as Europe/Berlin
     * @param string|null $color a CSS3 colour name (RFC 7986 5.9)
     * @param list<string>|null $categories
     * @param list<CalendarImage>|null $images
     */
    public function __construct(
        string $name,
        ?string $description = null,
        ?string $uid = null,
        ?string $url = null,
        ?string $sourceUrl = null,
        ?int $refreshMinutes = null,
        ?string $timezone = null,
        ?string $color = null,
        ?array $categories = null,
        ?array $images = null,
    ) {
        parent::__construct([
            'name' => $name,
            'description' => $description,
            'uid' => $uid,
            'url' => $url,
            'source_url' => $sourceUrl,
            'refresh_minutes' => $refreshMinutes,
            'timezone' => $timezone,
            'color' => $color,
            'categories' => $categories,
            'images' => $images,
        ]);
    }
}
