<?php

declare(strict_types=1);

namespace Errands;

/** Bytes for a job to work on (`Input` of the contract), for an image's `source` or an attachment's. */
final class Input
{
    /**
     * Inline, for small files: base64 grows them by a third, and a whole event is at most 10 MiB.
     *
     * @return array{data_base64: string, sha256: string}
     */
    public static function bytes(string $bytes): array
    {
        return ['data_base64' => base64_encode($bytes), 'sha256' => hash('sha256', $bytes)];
    }

    /**
     * By reference: Errands downloads it; with a `$sha256` (lower-case hexadecimal) the bytes are checked.
     *
     * @return array<string, string>
     */
    public static function url(string $url, ?string $sha256 = null): array
    {
        return ['url' => $url] + ($sha256 === null ? [] : ['sha256' => $sha256]);
    }

    /**
     * From the store: the `key` of an earlier job's artefact.
     *
     * @return array{key: string}
     */
    public static function key(string $key): array
    {
        return ['key' => $key];
    }
}
