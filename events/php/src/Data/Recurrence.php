<?php

declare(strict_types=1);

namespace Errands\Data;

/** The parts of an RRULE (RFC 5545 3.3.10). Nothing smaller than days: Outlook and Google take none. */
final class Recurrence extends Fields
{
    /**
     * @param 'daily'|'monthly'|'weekly'|'yearly' $frequency
     * @param int|null $interval default: 1
     * @param string|null $until the last moment; a local time of the zone, or UTC
     * @param list<int>|null $byMonth
     * @param list<int>|null $byMonthDay
     * @param list<int>|null $byYearDay
     * @param list<int>|null $byWeekNumber
     * @param list<string>|null $byDay such as ["MO", "-1FR"]
     * @param list<int>|null $bySetPosition
     * @param 'FR'|'MO'|'SA'|'SU'|'TH'|'TU'|'WE'|null $weekStart default: MO
     */
    public function __construct(
        string $frequency,
        ?int $interval = null,
        ?int $count = null,
        ?string $until = null,
        ?array $byMonth = null,
        ?array $byMonthDay = null,
        ?array $byYearDay = null,
        ?array $byWeekNumber = null,
        ?array $byDay = null,
        ?array $bySetPosition = null,
        ?string $weekStart = null,
    ) {
        parent::__construct([
            'frequency' => $frequency,
            'interval' => $interval,
            'count' => $count,
            'until' => $until,
            'by_month' => $byMonth,
            'by_month_day' => $byMonthDay,
            'by_year_day' => $byYearDay,
            'by_week_number' => $byWeekNumber,
            'by_day' => $byDay,
            'by_set_position' => $bySetPosition,
            'week_start' => $weekStart,
        ]);
    }
}
