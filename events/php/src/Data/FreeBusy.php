<?php

declare(strict_types=1);

namespace Errands\Data;

/** When somebody is busy between `start` and `end`, or the question when. Written as UTC (RFC 5545 3.6.4). */
final class FreeBusy extends Fields
{
    /**
     * @param string $start such as 2026-12-01T14:00:00
     * @param string $end such as 2026-12-01T14:00:00
     * @param string|null $timezone such as Europe/Berlin
     * @param list<BusyPeriod>|null $periods
     * @param list<Attendee>|null $attendees
     */
    public function __construct(
        string $start,
        string $end,
        ?string $timezone = null,
        ?string $uid = null,
        ?string $key = null,
        ?array $periods = null,
        ?Person $organizer = null,
        ?array $attendees = null,
        ?string $url = null,
        ?string $comment = null,
    ) {
        parent::__construct([
            'start' => $start,
            'end' => $end,
            'timezone' => $timezone,
            'uid' => $uid,
            'key' => $key,
            'periods' => $periods,
            'organizer' => $organizer,
            'attendees' => $attendees,
            'url' => $url,
            'comment' => $comment,
        ]);
    }
}
