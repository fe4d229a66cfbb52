<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Data\Alarm;
use Errands\Data\Attendee;
use Errands\Data\BusyPeriod;
use Errands\Data\CalendarAttachment;
use Errands\Data\CalendarEntry;
use Errands\Data\CalendarImage;
use Errands\Data\Conference;
use Errands\Data\EmailPart;
use Errands\Data\Feed;
use Errands\Data\FreeBusy;
use Errands\Data\Geo;
use Errands\Data\Override;
use Errands\Data\Person;
use Errands\Data\Previous;
use Errands\Data\Recurrence;
use Errands\Data\Todo;
use Errands\Job;

/** Make one calendar file (RFC 5545) of events, to-dos or free/busy times; with `separate` one for each of them. */
final class IcsJob extends Job
{
    public const TYPE = 'dev.errands.ics.requested.v1';

    /**
     * One event, or one series of events with its `overrides`. `end` is the first moment that is no part of it.
     *
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
    public function event(
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
    ): static {
        return $this->add('events', new CalendarEntry($summary, $start, $timezone, $uid, $key, $sequence, $previous,
            $recurrence, $rrule, $rdates, $exdates, $recurrenceId, $description, $comment, $location, $geo, $url,
            $conferences, $categories, $priority, $classification, $color, $organizer, $attendees, $alarms,
            $attachments, $images, $end, $status, $transparency, $overrides));
    }

    /** @param string $name a file's name in any language, no path; default: invite.ics */
    public function name(string $name): static
    {
        return $this->put('name', $name);
    }

    /**
     * @param 'cancel'|'counter'|'none'|'publish'|'reply'|'request' $method RFC 5546; `none`: a file that is no message;
     *     default: publish
     */
    public function method(string $method): static
    {
        return $this->put('method', $method);
    }

    /**
     * Something to do, by `due`; `completed` is a UTC time.
     *
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
     * @param string|null $start such as 2026-12-01T14:00:00
     * @param string|null $due such as 2026-12-01T14:00:00
     * @param string|null $completed such as 2026-12-01T14:00:00
     * @param 'cancelled'|'completed'|'in-process'|'needs-action'|null $status
     */
    public function todo(
        string $summary,
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
        ?string $start = null,
        ?string $due = null,
        ?string $completed = null,
        ?int $percentComplete = null,
        ?string $status = null,
    ): static {
        return $this->add('todos', new Todo($summary, $timezone, $uid, $key, $sequence, $previous, $recurrence, $rrule,
            $rdates, $exdates, $recurrenceId, $description, $comment, $location, $geo, $url, $conferences, $categories,
            $priority, $classification, $color, $organizer, $attendees, $alarms, $attachments, $images, $start, $due,
            $completed, $percentComplete, $status));
    }

    /**
     * When somebody is busy between `start` and `end`, or the question when. Written as UTC (RFC 5545 3.6.4).
     *
     * @param string $start such as 2026-12-01T14:00:00
     * @param string $end such as 2026-12-01T14:00:00
     * @param string|null $timezone such as Europe/Berlin
     * @param list<BusyPeriod>|null $periods
     * @param list<Attendee>|null $attendees
     */
    public function freeBusy(
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
    ): static {
        return $this->add('free_busy', new FreeBusy($start, $end, $timezone, $uid, $key, $periods, $organizer,
            $attendees, $url, $comment));
    }

    public function sequence(int $sequence): static
    {
        return $this->put('sequence', $sequence);
    }

    /** @param bool $separate default: false */
    public function separate(bool $separate): static
    {
        return $this->put('separate', $separate);
    }

    public function feed(Feed $feed): static
    {
        return $this->put('feed', $feed);
    }

    public function emailPart(EmailPart $emailPart): static
    {
        return $this->put('email_part', $emailPart);
    }
}
