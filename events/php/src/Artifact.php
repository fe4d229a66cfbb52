<?php

declare(strict_types=1);

namespace Errands;

/**
 * A file that a job made: keep it (saveTo), or name its `key` in a later job (Input::key).
 *
 * In an S3 store its `url` stops working at `expiresAt`, seven days after the job: what is kept for longer is the file
 * or the key, never the URL.
 */
final class Artifact
{
    private function __construct(
        public readonly string $name,
        public readonly string $url,
        public readonly string $mediaType,
        public readonly int $sizeBytes,
        public readonly string $sha256,
        public readonly string $key,
        public readonly ?\DateTimeImmutable $expiresAt,
        public readonly ?int $widthPx,
        public readonly ?int $heightPx,
    ) {
    }

    /**
     * Fetch the file to a path, whole or not at all; what was there is replaced.
     *
     * @throws NotFetched
     */
    public function saveTo(string $path, float $timeoutSeconds = 60.0): void
    {
        $partial = $path . '.' . bin2hex(random_bytes(6)) . '.part';
        $file = @fopen($partial, 'xb');
        if ($file === false) {
            throw new NotFetched("{$this->name} cannot be written to $path");
        }
        try {
            $this->fetch($file, $timeoutSeconds);
            if (!fclose($file) || hash_file('sha256', $partial) !== $this->sha256) {
                throw new NotFetched("{$this->name} did not come as the job made it");
            }
            if (!rename($partial, $path)) {
                throw new NotFetched("{$this->name} cannot be written to $path");
            }
        } finally {
            if (is_file($partial)) {
                unlink($partial);
            }
        }
    }

    /** @param resource $file */
    private function fetch($file, float $timeoutSeconds): void
    {
        $handle = curl_init();
        curl_setopt_array($handle, [
            CURLOPT_URL => $this->url,
            CURLOPT_FILE => $file,
            CURLOPT_FAILONERROR => true,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_TIMEOUT_MS => (int) ceil($timeoutSeconds * 1000),
            CURLOPT_NOSIGNAL => true,
        ]);
        if (curl_exec($handle) !== true || curl_getinfo($handle, CURLINFO_RESPONSE_CODE) !== 200) {
            $expired = $this->expiresAt !== null && $this->expiresAt < new \DateTimeImmutable();
            $reason = $expired ? "its URL expired at {$this->expiresAt->format(DATE_ATOM)}" : curl_error($handle);
            throw new NotFetched("{$this->name} cannot be fetched: $reason");
        }
    }

    /**
     * Those that an outcome's data names, in the order of the request's outputs.
     *
     * @param array<mixed> $data
     * @return list<self>
     */
    public static function listed(array $data): array
    {
        $listed = is_array($data['artifacts'] ?? null) ? $data['artifacts'] : [];
        return array_values(array_map(self::fromArray(...), array_filter($listed, is_array(...))));
    }

    /** @param array<mixed> $fields */
    public static function fromArray(array $fields): self
    {
        foreach (['name', 'url', 'media_type', 'sha256', 'key'] as $name) {
            if (!is_string($fields[$name] ?? null)) {
                throw new InvalidCallback("an artefact must have a $name");
            }
        }
        if (!is_int($fields['size_bytes'] ?? null)) {
            throw new InvalidCallback('an artefact must have a size_bytes');
        }
        return new self(
            $fields['name'],
            $fields['url'],
            $fields['media_type'],
            $fields['size_bytes'],
            $fields['sha256'],
            $fields['key'],
            Callback::time($fields['expires_at'] ?? null),
            is_int($fields['width_px'] ?? null) ? $fields['width_px'] : null,
            is_int($fields['height_px'] ?? null) ? $fields['height_px'] : null,
        );
    }
}
