<?php

declare(strict_types=1);

namespace Errands\Example;

/** What goes back to the caller. */
final class Response
{
    private const JSON = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE;

    /**
     * @param array<string, string> $headers
     * @param list<string>          $origins which a page may load pictures from, and follow jobs at
     */
    private function __construct(
        public readonly int $status,
        public readonly array $headers = [],
        public readonly string $body = '',
        public readonly array $origins = [],
    ) {
    }

    /**
     * @param array<mixed>          $value
     * @param array<string, string> $headers
     */
    public static function json(int $status, array $value, array $headers = []): self
    {
        return new self($status, $headers + ['Content-Type' => 'application/json'], json_encode($value, self::JSON));
    }

    /** @param list<array{pointer: string, detail: string}> $errors the bad fields (RFC 9457) */
    public static function problem(int $status, string $title, string $detail, array $errors = []): self
    {
        $headers = ['Content-Type' => 'application/problem+json'];
        $problem = ['title' => $title, 'status' => $status, 'detail' => $detail];
        return self::json($status, $problem + ($errors === [] ? [] : ['errors' => $errors]), $headers);
    }

    /** @param list<string> $origins which the page may load pictures from, and follow jobs at */
    public static function html(int $status, string $page, array $origins): self
    {
        return new self($status, ['Content-Type' => 'text/html; charset=utf-8'], $page, array_unique($origins));
    }

    public static function seeOther(string $path): self
    {
        return new self(303, ['Location' => $path]);
    }

    public static function noContent(): self
    {
        return new self(204);
    }

    public function send(): void
    {
        $others = rtrim(' ' . implode(' ', $this->origins));
        $always = [
            'Cache-Control' => 'no-store',
            'Content-Security-Policy' => "default-src 'none'; style-src 'self'; script-src 'self';"
                . " connect-src 'self'$others; img-src 'self'$others; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            'Referrer-Policy' => 'same-origin',
            'X-Content-Type-Options' => 'nosniff',
        ];
        foreach ($this->headers + $always as $name => $value) {
            header("$name: $value");
        }
        http_response_code($this->status); // last: a Location header would make it 302
        echo $this->body;
    }
}
