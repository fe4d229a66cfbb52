<?php

declare(strict_types=1);

namespace Errands;

/**
 * A file to hand over: a stream from its beginning, and the name that Errands takes for it.
 *
 * @internal
 */
final class Upload
{
    private const NAME_LIMIT = 100;

    /** @param resource $stream */
    private function __construct(
        public readonly mixed $stream,
        public readonly string $name,
        public readonly int $sizeBytes,
    ) {
    }

    /** @param string|resource $file a path, or a stream that can be rewound */
    public static function of(mixed $file, ?string $name): self
    {
        $stream = is_string($file) ? @fopen($file, 'rb') : $file;
        if (!is_resource($stream) || !(stream_get_meta_data($stream)['seekable'] ?? false)) {
            $given = is_string($file) ? $file : get_debug_type($file);
            throw new \InvalidArgumentException("a file that can be read and rewound is expected, got $given");
        }
        $size = fstat($stream)['size'] ?? 0;
        if ($size === 0) {
            throw new \InvalidArgumentException('a file with something in it is expected, got an empty one');
        }
        return new self($stream, self::name($name ?? (is_string($file) ? basename($file) : 'file')), $size);
    }

    /** Letters, digits, `.`, `_`, `-` and blanks, the ending kept: of other letters nothing is lost but how it is called. */
    private static function name(string $name): string
    {
        $plain = (string) preg_replace('/[^A-Za-z0-9._ -]+/', '_', $name);
        $ending = substr((string) strrchr($plain, '.'), 0, 20);
        $start = substr($plain, 0, strlen($plain) - strlen($ending));
        $start = preg_match('/^[A-Za-z0-9_]/', $start) === 1 ? $start : "_$start";
        return substr($start, 0, self::NAME_LIMIT - strlen($ending)) . $ending;
    }
}
