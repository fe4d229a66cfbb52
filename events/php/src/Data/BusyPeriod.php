<?php

declare(strict_types=1);

namespace Errands\Data;

/** A time that is taken, or free. */
final class BusyPeriod extends Fields
{
    /**
     * @param string $start such as 2026-12-01T14:00:00
     * @param string $end such as 2026-12-01T14:00:00
     * @param 'busy'|'busy-tentative'|'busy-unavailable'|'free'|null $type default: busy
     */
    public function __construct(
        string $start,
        string $end,
        ?string $type = null,
    ) {
        parent::__construct([
            'start' => $start,
            'end' => $end,
            'type' => $type,
        ]);
    }
}
