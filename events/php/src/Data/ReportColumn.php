<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * One column of a table. `align` is by default right for numbers and money, left for the others.
 *
 * Numbers and dates are never broken; `nowrap` says so of a text.
 */
final class ReportColumn extends Fields
{
    /**
     * @param string $name a key of the rows, of letters, figures, _, - and .
     * @param 'date'|'money'|'number'|'text'|null $kind default: text
     * @param 'center'|'left'|'right'|null $align
     * @param bool|null $total default: false
     * @param int|float|null $widthMm of the built-in table; default: what it needs
     * @param bool|null $nowrap default: false
     */
    public function __construct(
        string $name,
        ?string $label = null,
        ?string $kind = null,
        ?string $align = null,
        ?bool $total = null,
        int|float|null $widthMm = null,
        ?bool $nowrap = null,
    ) {
        parent::__construct([
            'name' => $name,
            'label' => $label,
            'kind' => $kind,
            'align' => $align,
            'total' => $total,
            'width_mm' => $widthMm,
            'nowrap' => $nowrap,
        ]);
    }
}
