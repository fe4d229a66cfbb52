<?php

declare(strict_types=1);

namespace Errands\Data;

/** An invitation: a calendar as text, or the `key` of one in the store; `method` has to be the calendar's METHOD. */
final class MessageCalendar extends Fields
{
    /**
     * @param 'ADD'|'CANCEL'|'COUNTER'|'DECLINECOUNTER'|'PUBLISH'|'REFRESH'|'REPLY'|'REQUEST'|null $method default:
     *     REQUEST
     */
    public function __construct(
        ?string $text = null,
        ?string $key = null,
        ?string $method = null,
    ) {
        parent::__construct([
            'text' => $text,
            'key' => $key,
            'method' => $method,
        ]);
    }
}
