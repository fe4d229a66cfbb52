<?php

declare(strict_types=1);

namespace Errands;

/**
 * The job cannot be done as it is; the message names the field. `errors` has each bad field of the data, where Errands
 * has looked at it: `['pointer' => '#/events/0/timezone', 'detail' => 'must be an IANA time zone, got ...']`.
 */
final class InvalidJob extends Exception
{
    /** @param list<array{pointer: string, detail: string}> $errors */
    public function __construct(
        string $message,
        public readonly array $errors = [],
        public readonly ?string $jobId = null,
        ?\Throwable $previous = null,
    ) {
        parent::__construct($message, 0, $previous);
    }
}
