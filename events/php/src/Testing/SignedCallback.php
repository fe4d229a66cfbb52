<?php

declare(strict_types=1);

namespace Errands\Testing;

/** A callback as Errands posts it. */
final class SignedCallback
{
    /** @param array<string, string> $headers */
    public function __construct(public readonly string $body, public readonly array $headers)
    {
    }

    /**
     * The headers as $_SERVER has them, for the test clients of Symfony and Laravel.
     *
     * @return array<string, string>
     */
    public function server(): array
    {
        $server = ['CONTENT_TYPE' => $this->headers['content-type']];
        foreach (array_diff_key($this->headers, ['content-type' => null]) as $name => $value) {
            $server['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;
        }
        return $server;
    }
}
