<?php

declare(strict_types=1);

namespace Errands\Data;

/** What was sent last, for an update: its sequence, and what a change of makes a new one (RFC 5546 2.1.4). */
final class Previous extends Fields
{
    /**
     * @param int|null $sequence default: 0
     * @param string|null $start such as 2026-12-01T14:00:00
     * @param string|null $end such as 2026-12-01T14:00:00
     * @param string|null $due such as 2026-12-01T14:00:00
     * @param string|null $timezone such as Europe/Berlin
     * @param list<string>|null $rdates
     * @param list<string>|null $exdates
     */
    public function __construct(
        ?int $sequence = null,
        ?string $start = null,
        ?string $end = null,
        ?string $due = null,
        ?string $timezone = null,
        ?Recurrence $recurrence = null,
        ?string $rrule = null,
        ?array $rdates = null,
        ?array $exdates = null,
        ?string $status = null,
    ) {
        parent::__construct([
            'sequence' => $sequence,
            'start' => $start,
            'end' => $end,
            'due' => $due,
            'timezone' => $timezone,
            'recurrence' => $recurrence,
            'rrule' => $rrule,
            'rdates' => $rdates,
            'exdates' => $exdates,
            'status' => $status,
        ]);
    }
}
