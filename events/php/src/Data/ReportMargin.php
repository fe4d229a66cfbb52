<?php

declare(strict_types=1);

namespace Errands\Data;

/** The empty rim of each page; a side left out is the template's own. */
final class ReportMargin extends Fields
{
    /**
     * @param int|float|null $topMm
     * @param int|float|null $rightMm
     * @param int|float|null $bottomMm
     * @param int|float|null $leftMm
     */
    public function __construct(
        int|float|null $topMm = null,
        int|float|null $rightMm = null,
        int|float|null $bottomMm = null,
        int|float|null $leftMm = null,
    ) {
        parent::__construct([
            'top_mm' => $topMm,
            'right_mm' => $rightMm,
            'bottom_mm' => $bottomMm,
            'left_mm' => $leftMm,
        ]);
    }
}
