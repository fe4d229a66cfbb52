<?php

declare(strict_types=1);

namespace App;

use Errands\Callback;

/** How each job ended: a file for each callback, so that one that repeats is one, and `completed` wins. */
final class OrderOutcomes
{
    private readonly string $folder;

    public function __construct()
    {
        $this->folder = dirname(__DIR__) . '/var/outcomes';
    }

    public function apply(Callback $callback): void
    {
        @mkdir($this->folder, recursive: true);
        $file = "$this->folder/" . hash('sha256', $callback->jobId);
        $known = is_file($file) ? file_get_contents($file) : '';
        if ($known !== Callback::COMPLETED) {
            file_put_contents($file, $callback->outcome, LOCK_EX);
        }
    }

    public function of(string $jobId): ?string
    {
        $file = "$this->folder/" . hash('sha256', $jobId);
        return is_file($file) ? (string) file_get_contents($file) : null;
    }
}
