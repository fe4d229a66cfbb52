<?php

declare(strict_types=1);

namespace Errands;

/**
 * Verifies callbacks: Standard Webhooks 1.0, symmetric signatures.
 *
 *     $callback = (new Webhook(getenv('ERRANDS_WEBHOOK_SECRET')))->verify($body, $headers);
 *
 * The body must be the bytes as they came: a body that was decoded and encoded again does not verify.
 */
final class Webhook
{
    private const BODY_LIMIT_BYTES = 10 * 1024 * 1024;
    private const KEY_MIN_BYTES = 16;

    /** @var non-empty-list<string> */
    private readonly array $keys;
    private readonly \Closure $clock;

    /**
     * @param string|list<string>     $secrets `whsec_...`; several while a secret is being replaced
     * @param ?\Closure(): int        $clock   the present as a Unix time; for tests
     */
    public function __construct(
        #[\SensitiveParameter] string|array $secrets,
        private readonly int $toleranceSeconds = 300,
        ?\Closure $clock = null,
    ) {
        $keys = array_map(self::key(...), array_values((array) $secrets));
        if ($keys === []) {
            throw new \InvalidArgumentException('at least one secret is expected, got none');
        }
        $this->keys = $keys;
        $this->clock = $clock ?? time(...);
    }

    /**
     * The callback of the request that PHP is answering.
     *
     * @param string|list<string> $secrets
     * @throws InvalidSignature
     * @throws InvalidCallback
     */
    public static function fromGlobals(
        #[\SensitiveParameter] string|array $secrets,
        int $toleranceSeconds = 300,
    ): Callback {
        $body = (string) file_get_contents('php://input', length: self::BODY_LIMIT_BYTES);
        return (new self($secrets, $toleranceSeconds))->verify($body, $_SERVER);
    }

    /**
     * The callback, once its signature is found right.
     *
     * @param array<mixed> $headers as names (in any case) to a value or a list of values, or as $_SERVER
     * @throws InvalidSignature answer 401
     * @throws InvalidCallback  answer 400
     */
    public function verify(string $body, array $headers): Callback
    {
        return Callback::fromJson($body, $this->authenticate($body, $headers));
    }

    /**
     * Check the signature alone, of any body; return the `webhook-id`.
     *
     * @param array<mixed> $headers
     * @throws InvalidSignature
     */
    public function authenticate(string $body, array $headers): string
    {
        $sent = self::normalised($headers);
        foreach (['webhook-id', 'webhook-timestamp', 'webhook-signature'] as $name) {
            if (($sent[$name] ?? '') === '') {
                throw new InvalidSignature("the header $name is missing");
            }
        }
        $this->checkTimestamp($sent['webhook-timestamp']);
        $this->checkSignature("{$sent['webhook-id']}.{$sent['webhook-timestamp']}.$body", $sent['webhook-signature']);
        return $sent['webhook-id'];
    }

    private function checkTimestamp(string $timestamp): void
    {
        if (preg_match('/^[0-9]{1,12}$/D', $timestamp) !== 1) {
            throw new InvalidSignature('webhook-timestamp must be a Unix time in seconds');
        }
        $age = ($this->clock)() - (int) $timestamp;
        if (abs($age) > $this->toleranceSeconds) {
            $far = abs($age) . ' s ' . ($age > 0 ? 'old' : 'ahead of this clock');
            throw new InvalidSignature("webhook-timestamp must be within {$this->toleranceSeconds} s, it is $far");
        }
    }

    private function checkSignature(string $signed, string $signatures): void
    {
        $sign = static fn (string $key): string => base64_encode(hash_hmac('sha256', $signed, $key, true));
        $expected = array_map($sign, $this->keys);
        foreach (preg_split('/\s+/', $signatures, -1, PREG_SPLIT_NO_EMPTY) ?: [] as $each) {
            [$version, $signature] = explode(',', $each, 2) + [1 => ''];
            foreach ($version === 'v1' ? $expected : [] as $known) {
                if (hash_equals($known, $signature)) {
                    return;
                }
            }
        }
        throw new InvalidSignature('no signature matches: another secret, or the body was changed on its way');
    }

    /**
     * @param array<mixed> $headers
     * @return array<string, string>
     */
    private static function normalised(array $headers): array
    {
        $found = [];
        foreach ($headers as $name => $value) {
            $plain = strtolower(str_replace('_', '-', preg_replace('/^HTTP_/', '', (string) $name)));
            if (str_starts_with($plain, 'webhook-')) {
                $found[$plain] = trim(implode(' ', array_filter((array) $value, is_scalar(...))));
            }
        }
        return $found;
    }

    private static function key(#[\SensitiveParameter] string $secret): string
    {
        $key = base64_decode((string) preg_replace('/^whsec_/', '', trim($secret)), true);
        if ($key === false || strlen($key) < self::KEY_MIN_BYTES) {
            throw new \InvalidArgumentException('a secret must be whsec_ and the base64 of at least 16 bytes');
        }
        return $key;
    }
}
