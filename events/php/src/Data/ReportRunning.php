<?php

declare(strict_types=1);

namespace Errands\Data;

/** What each page repeats; `{page}`, `{pages}`, `{title}` and `{date}` (the request's) in it are replaced. */
final class ReportRunning extends Fields
{
    /**
     * @param string|null $left default:
     * @param string|null $center default:
     * @param string|null $right default:
     */
    public function __construct(
        ?string $left = null,
        ?string $center = null,
        ?string $right = null,
    ) {
        parent::__construct([
            'left' => $left,
            'center' => $center,
            'right' => $right,
        ]);
    }
}
