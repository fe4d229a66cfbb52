<?php

declare(strict_types=1);

namespace Errands\Data;

/** The point of the upright source that must stay in sight, as fractions of its width and height. */
final class ImageFocus extends Fields
{
    public function __construct(
        int|float $x,
        int|float $y,
    ) {
        parent::__construct([
            'x' => $x,
            'y' => $y,
        ]);
    }
}
