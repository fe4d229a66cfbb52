<?php

declare(strict_types=1);

namespace Errands;

/** What a Transport sends. */
final class Request
{
    /**
     * @param list<string>    $headers `Name: value`
     * @param string|resource $body    a stream is sent from where it stands, `$sizeBytes` of it
     */
    public function __construct(
        public readonly string $method,
        public readonly string $url,
        public readonly array $headers = [],
        public readonly mixed $body = '',
        public readonly int $sizeBytes = 0,
        public readonly float $timeoutSeconds = 5.0,
    ) {
    }
}
