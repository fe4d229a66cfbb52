<?php

declare(strict_types=1);

namespace Errands\Data;

/** One event, or one series of events with its `overrides`. `end` is the first moment that is no part of it. */
final class CalendarEntry extends Fields
{
    /**
     * @param string $start such as 2026-12-01T14:00:00
     * @param string|null $timezone such as Europe/Berlin
     * @param string|null $key your own name for it; the same key of one source is one uid
     * @param string|null $rrule the recurrence as text: FREQ=WEEKLY;COUNT=10
     * @param list<string>|null $rdates
     * @param list<string>|null $exdates
     * @param string|null $recurrenceId this is one instance of a series sent before, the one that would start then
     * @param list<Conference>|null $conferences
     * @param list<string>|null $categories
     * @param int|null $priority 1 is the highest, 0 none
     * @param 'confidential'|'private'|'public'|null $classification
     * @param string|null $color a CSS3 colour name (RFC 7986 5.9)
     * @param list<Attendee>|null $attendees
     * @param list<Alarm>|null $alarms
     * @param list<CalendarAttachment>|null $attachments
     * @param list<CalendarImage>|null $images
     * @param string|null $end such as 2026-12-01T14:00:00
     * @param 'cancelled'|'confirmed'|'tentative'|null $status
     * @param 'opaque'|'transparent'|null $transparency
     * @param list<Override>|null $overrides
     */
    public function __construct(
        string $summary,
        string $start,
        ?string $timezone = null,
        ?string $uid = null,
        ?string $key = null,
        ?int $sequence = null,
        ?Previous $previous = null,
        ?Recurrence $recurrence = null,
        ?string $rrule = null,
        ?array $rdates = null,
        ?array $exdates = null,
        ?string $recurrenceId = null,
        ?string $description = null,
        ?string $comment = null,
        ?string $location = null,
        ?Geo $geo = null,
        ?string $url = null,
        ?array $conferences = null,
        ?array $categories = null,
        ?int $priority = null,
        ?string $classification = null,
        ?string $color = null,
        ?Person $organizer = null,
        ?array $attendees = null,
        ?array $alarms = null,
        ?array $attachments = null,
        ?array $images = null,
        ?string $end = null,
        ?string $status = null,
        ?string $transparency = null,
        ?array $overrides = null,
    ) {
        parent::__construct([
            'summary' => $summary,
            'start' => $start,
            'timezone' => $timezone,
            'uid' => $uid,
            'key' => $key,
            'sequence' => $sequence,
            'previous' => $previous,
            'recurrence' => $recurrence,
            'rrule' => $rrule,
            'rdates' => $rdates,
            'exdates' => $exdates,
            'recurrence_id' => $recurrenceId,
            'description' => $description,
            'comment' => $comment,
            'location' => $location,
            'geo' => $geo,
            'url' => $url,
            'conferences' => $conferences,
            'categories' => $categories,
            'priority' => $priority,
            'classification' => $classification,
            'color' => $color,
            'organizer' => $organizer,
            'attendees' => $attendees,
            'alarms' => $alarms,
            'attachments' => $attachments,
            'images' => $images,
            'end' => $end,
            'status' => $status,
            'transparency' => $transparency,
            'overrides' => $overrides,
        ]);
    }
}
