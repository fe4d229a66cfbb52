<?php

declare(strict_types=1);

namespace Errands;

/**
 * Verifies callbacks: Standard Webhooks 1.0, symmetric signatures.
 *
 *     $callback = Webhook::fromGlobals();                  // a plain PHP script
 *     $callback = (new Webhook())->verifyRequest($request); // a Symfony, Laravel or PSR-7 request
 *
 * The body must be the bytes as they came: a body that was decoded and encoded again does not verify.
 */
final class Webhook
{
    private const BODY_LIMIT_BYTES = 10 * 1024 * 1024;
    private const KEY_MIN_BYTES = 16;
    private const NO_SECRET = 'there is no secret: set ERRANDS_WEBHOOK_SECRET to whsec_..., or '
        . 'ERRANDS_WEBHOOK_SECRET_FILE to a file with it (errands up: .errands/secrets/callback/secrets)';

    /** @var non-empty-list<string> */
    private readonly array $keys;
    private readonly \Closure $clock;

    /**
     * @param string|list<string>|false|null $secrets `whsec_...`, several while a secret is being replaced; null takes
     *                                                the environment's ERRANDS_WEBHOOK_SECRET (separated by commas or
     *                                                spaces), or the file that ERRANDS_WEBHOOK_SECRET_FILE names
     * @param ?\Closure(): int               $clock   the present as a Unix time; for tests
     * @throws \InvalidArgumentException there is no secret, or it is none
     */
    public function __construct(
        #[\SensitiveParameter] string|array|false|null $secrets = null,
        private readonly int $toleranceSeconds = 300,
        ?\Closure $clock = null,
    ) {
        $keys = array_map(self::key(...), array_values((array) ($secrets ?? self::environment())));
        if ($keys === []) {
            throw new \InvalidArgumentException('at least one secret is expected, got none');
        }
        $this->keys = $keys;
        $this->clock = $clock ?? time(...);
    }

    /**
     * The callback of the request that PHP is answering.
     *
     * @param string|list<string>|false|null $secrets as of the constructor
     * @throws InvalidSignature answer 401
     * @throws InvalidCallback  answer 400
     */
    public static function fromGlobals(
        #[\SensitiveParameter] string|array|false|null $secrets = null,
        int $toleranceSeconds = 300,
    ): Callback {
        $body = (string) file_get_contents('php://input', length: self::BODY_LIMIT_BYTES);
        return (new self($secrets, $toleranceSeconds))->verify($body, $_SERVER);
    }

    /**
     * The callback of a framework's request: Symfony's, Laravel's, or one of PSR-7.
     *
     * @throws InvalidSignature answer 401
     * @throws InvalidCallback  answer 400
     */
    public function verifyRequest(
        \Symfony\Component\HttpFoundation\Request|\Psr\Http\Message\RequestInterface $request,
    ): Callback {
        return $request instanceof \Psr\Http\Message\RequestInterface
            ? $this->verify((string) $request->getBody(), $request->getHeaders())
            : $this->verify((string) $request->getContent(), $request->headers->all());
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

    /** @return list<string> */
    private static function environment(): array
    {
        $file = getenv('ERRANDS_WEBHOOK_SECRET_FILE') ?: '';
        $given = getenv('ERRANDS_WEBHOOK_SECRET') ?: ($file !== '' ? (string) @file_get_contents($file) : '');
        $secrets = preg_split('/[\s,]+/', $given, -1, PREG_SPLIT_NO_EMPTY) ?: [];
        return $secrets !== [] ? $secrets : throw new \InvalidArgumentException(self::NO_SECRET);
    }

    private static function key(#[\SensitiveParameter] string|false $secret): string
    {
        if ($secret === false || trim($secret) === '') { // getenv() of what is not set
            throw new \InvalidArgumentException(self::NO_SECRET);
        }
        $key = base64_decode((string) preg_replace('/^whsec_/', '', trim($secret)), true);
        if ($key === false || strlen($key) < self::KEY_MIN_BYTES) {
            throw new \InvalidArgumentException('a secret must be whsec_ and the base64 of at least 16 bytes');
        }
        return $key;
    }
}
