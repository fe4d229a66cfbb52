<?php

declare(strict_types=1);

namespace Errands\Data;

/** One instance of a series, changed. What is absent is as in the series; `start` alone moves it. */
final class Override extends Fields
{
    /**
     * @param string $recurrenceId when the instance would have started
     * @param string|null $start such as 2026-12-01T14:00:00
     * @param string|null $end such as 2026-12-01T14:00:00
     * @param 'cancelled'|'confirmed'|'tentative'|null $status
     * @param 'opaque'|'transparent'|null $transparency
     * @param list<Attendee>|null $attendees
     * @param list<Alarm>|null $alarms
     */
    public function __construct(
        string $recurrenceId,
        ?string $start = null,
        ?string $end = null,
        ?string $summary = null,
        ?string $description = null,
        ?string $location = null,
        ?string $url = null,
        ?string $status = null,
        ?string $transparency = null,
        ?array $attendees = null,
        ?array $alarms = null,
        ?int $sequence = null,
    ) {
        parent::__construct([
            'recurrence_id' => $recurrenceId,
            'start' => $start,
            'end' => $end,
            'summary' => $summary,
            'description' => $description,
            'location' => $location,
            'url' => $url,
            'status' => $status,
            'transparency' => $transparency,
            'attendees' => $attendees,
            'alarms' => $alarms,
            'sequence' => $sequence,
        ]);
    }
}
