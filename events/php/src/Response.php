<?php

declare(strict_types=1);

namespace Errands;

/**
 * What came back from the sink; a status of 0 is no answer at all.
 *
 * @internal
 */
final class Response
{
    // A repeated job does no harm, so every fault of the connection is worth another try; a bad certificate is not.
    private const TRANSIENT = [
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_GOT_NOTHING,
        CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_PARTIAL_FILE, CURLE_SSL_CONNECT_ERROR, CURLE_COULDNT_RESOLVE_PROXY,
    ];

    public function __construct(
        public readonly int $status,
        public readonly string $body = '',
        public readonly ?string $retryAfter = null,
        private readonly int $fault = 0,
        private readonly string $faultText = '',
    ) {
    }

    public function isAccepted(): bool
    {
        return $this->fault === 0 && $this->status >= 200 && $this->status < 300;
    }

    public function isTransient(): bool
    {
        if ($this->fault !== 0) {
            return in_array($this->fault, self::TRANSIENT, true);
        }
        return $this->status === 429 || $this->status >= 500;
    }

    /** The sink's own words: problem details (RFC 9457) or the start of its text. */
    public function reason(): string
    {
        if ($this->fault !== 0) {
            return $this->faultText;
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
