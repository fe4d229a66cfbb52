<?php

declare(strict_types=1);

namespace Errands;

/**
 * The key of a job, by which Errands is asked for it: UUID version 5 (RFC 9562 5.5) of its source and id.
 *
 * @internal
 */
final class Key
{
    private const NAMESPACE = '5b1f3f5e6d0e5a559f0a2b7c6c0b7a11'; // events/job.py

    public static function of(string $source, string $id): string
    {
        $bytes = substr(sha1(hex2bin(self::NAMESPACE) . "$source\n$id", true), 0, 16);
        return self::shown($bytes, 5);
    }

    /** Sixteen bytes as a UUID of this version. */
    public static function shown(string $bytes, int $version): string
    {
        $bytes[6] = chr(ord($bytes[6]) & 0x0f | $version << 4);
        $bytes[8] = chr(ord($bytes[8]) & 0x3f | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }
}
