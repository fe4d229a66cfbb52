<?php

declare(strict_types=1);

namespace Errands;

/** A file that a job made: fetch it from `url`, or name its `key` in a later job (Input::key). */
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
