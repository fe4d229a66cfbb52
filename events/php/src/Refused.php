<?php

declare(strict_types=1);

namespace Errands;

/** What was asked for was not accepted, and trying again is of no use; the message carries the sink's reason. */
final class Refused extends Exception
{
    /** @param int $status the HTTP status, 0 when there was none (a certificate that does not verify) */
    public function __construct(string $message, public readonly string $jobId, public readonly int $status)
    {
        parent::__construct($message);
    }
}
