<?php

declare(strict_types=1);

namespace Errands\Example;

/** What the environment says, read once a request. */
final class Settings
{
    /** @param list<string> $webhookSecrets */
    public function __construct(
        public readonly string $dataFolder,
        public readonly string $source,
        public readonly string $sink,
        public readonly ?string $callbackUrl,
        public readonly ?string $token,
        public readonly array $webhookSecrets,
    ) {
    }

    public static function fromEnvironment(): self
    {
        $file = self::read('ERRANDS_WEBHOOK_SECRET_FILE');
        $secrets = self::read('ERRANDS_WEBHOOK_SECRET')
            ?? ($file !== null && is_file($file) ? file_get_contents($file) : '');
        return new self(
            dataFolder: self::read('ERRANDS_EXAMPLE_DATA') ?? dirname(__DIR__) . '/var',
            source: self::read('ERRANDS_SOURCE') ?? 'https://shop.example/orders',
            sink: self::read('K_SINK') ?? 'http://127.0.0.1:8080',
            callbackUrl: self::read('ERRANDS_CALLBACK_URL'),
            token: self::read('ERRANDS_TOKEN'),
            webhookSecrets: preg_split('/[\s,]+/', (string) $secrets, -1, PREG_SPLIT_NO_EMPTY) ?: [],
        );
    }

    private static function read(string $name): ?string
    {
        $value = getenv($name);
        return $value === false || $value === '' ? null : $value;
    }
}
