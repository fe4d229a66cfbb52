<?php

declare(strict_types=1);

namespace Errands;

/**
 * No acceptance after every retry. The job may have arrived all the same (an answer can be lost on its way):
 * emit the same Job again later; Errands knows it by its source and id.
 */
final class Unreachable extends Exception
{
    /** @param int $status the last HTTP status, 0 when no answer came */
    public function __construct(
        string $message,
        public readonly string $jobId,
        public readonly int $status,
        public readonly int $attempts,
    ) {
        parent::__construct($message);
    }
}
