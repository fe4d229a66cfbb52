<?php

declare(strict_types=1);

namespace Errands;

/** What came back to a Transport; a status of 0 is no answer at all. */
final class Response
{
    /** @param ?string $fault what went wrong with the connection, in words */
    public function __construct(
        public readonly int $status,
        public readonly string $body = '',
        public readonly ?string $retryAfter = null,
        private readonly ?string $fault = null,
        private readonly bool $isLasting = false,
    ) {
    }

    /** No answer came. A fault that lasts, such as a bad certificate, is not tried again. */
    public static function fault(string $words, int $status = 0, bool $isLasting = false): self
    {
        return new self($status, fault: $words, isLasting: $isLasting);
    }

    public function isAccepted(): bool
    {
        return $this->fault === null && $this->status >= 200 && $this->status < 300;
    }

    public function isTransient(): bool
    {
        if ($this->fault !== null) {
            return !$this->isLasting;
        }
        return $this->status === 429 || $this->status >= 500;
    }

    /**
     * The body as JSON; nothing where it is no object.
     *
     * @return array<mixed>
     */
    public function json(): array
    {
        $read = json_decode($this->body, true);
        return is_array($read) ? $read : [];
    }

    /** The sink's own words: problem details (RFC 9457) or the start of its text. */
    public function reason(): string
    {
        if ($this->fault !== null) {
            return $this->fault;
        }
        $problem = json_decode($this->body, true);
        $told = is_array($problem) ? ($problem['detail'] ?? $problem['title'] ?? null) : $this->body;
        $text = is_string($told) ? trim((string) preg_replace('/[^\x21-\x7e\x80-\xff]+/', ' ', $told)) : '';
        // Cut between characters, never inside one: the message may go on as JSON.
        $text = preg_match('/^.{0,1000}/us', $text, $start) === 1 ? $start[0] : 'a reason that is not UTF-8';
        if ($this->status >= 300 && $this->status < 400) {
            $text = 'redirects are not followed';
        }
        return "HTTP {$this->status}: " . ($text === '' ? 'no reason given' : $text);
    }

    /** Seconds to wait that the sink asks for (RFC 9110 10.2.3), or null. */
    public function retryAfterSeconds(int $now): ?float
    {
        $asked = trim($this->retryAfter ?? '');
        if ($asked !== '' && ctype_digit($asked)) {
            return (float) $asked;
        }
        $date = \DateTimeImmutable::createFromFormat('!D, d M Y H:i:s \G\M\T', $asked, new \DateTimeZone('UTC'));
        return $date === false ? null : (float) max(0, $date->getTimestamp() - $now);
    }
}
