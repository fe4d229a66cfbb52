<?php

declare(strict_types=1);

namespace Errands\Data;

/** A reminder: 15 minutes before the start, or as one of `minutes_before`, `minutes_after` and `at` (UTC) says. */
final class Alarm extends Fields
{
    /**
     * @param 'audio'|'display'|'email'|null $action default: display
     * @param 'end'|'start'|null $related what the minutes count from; default: start
     * @param string|null $at such as 2026-12-01T14:00:00
     * @param int|null $repeat how often it sounds again; default: 0
     * @param int|null $repeatMinutes default: 5
     * @param string|null $subject of an e-mail; default: the summary
     * @param list<string>|null $to who gets the e-mail
     */
    public function __construct(
        ?string $action = null,
        ?int $minutesBefore = null,
        ?int $minutesAfter = null,
        ?string $related = null,
        ?string $at = null,
        ?int $repeat = null,
        ?int $repeatMinutes = null,
        ?string $text = null,
        ?string $subject = null,
        ?array $to = null,
        ?string $soundUrl = null,
    ) {
        parent::__construct([
            'action' => $action,
            'minutes_before' => $minutesBefore,
            'minutes_after' => $minutesAfter,
            'related' => $related,
            'at' => $at,
            'repeat' => $repeat,
            'repeat_minutes' => $repeatMinutes,
            'text' => $text,
            'subject' => $subject,
            'to' => $to,
            'sound_url' => $soundUrl,
        ]);
    }
}
