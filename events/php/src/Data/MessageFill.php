<?php

declare(strict_types=1);

namespace Errands\Data;

/** What the templates are filled with; the rest is how numbers, money and times are written. */
final class MessageFill extends Fields
{
    /**
     * @param array<string, mixed>|\stdClass $data
     * @param string|null $locale such as en; default: en
     * @param string|null $currency a code of ISO 4217, such as EUR
     * @param string|null $zone such as Europe/Berlin; default: UTC
     */
    public function __construct(
        array|\stdClass $data,
        ?string $locale = null,
        ?string $currency = null,
        ?string $zone = null,
    ) {
        parent::__construct([
            'data' => self::map($data),
            'locale' => $locale,
            'currency' => $currency,
            'zone' => $zone,
        ]);
    }
}
