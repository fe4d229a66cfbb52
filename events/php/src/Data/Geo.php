<?php

declare(strict_types=1);

namespace Errands\Data;

/** A place in decimal degrees (WGS 84). */
final class Geo extends Fields
{
    public function __construct(
        int|float $latitude,
        int|float $longitude,
    ) {
        parent::__construct([
            'latitude' => $latitude,
            'longitude' => $longitude,
        ]);
    }
}
