<?php

declare(strict_types=1);

namespace Errands;

/** Why a job failed: problem details (RFC 9457). */
final class Problem
{
    /** @param list<array{pointer: string, detail: string}> $errors the bad fields, `#/events/0/timezone` */
    private function __construct(
        public readonly string $type,
        public readonly string $title,
        public readonly string $detail,
        public readonly array $errors,
    ) {
    }

    /** @param array<mixed> $fields */
    public static function fromArray(array $fields): self
    {
        $text = static fn (mixed $value, string $default = ''): string => is_string($value) ? $value : $default;
        $errors = [];
        foreach (is_array($fields['errors'] ?? null) ? $fields['errors'] : [] as $each) {
            if (is_array($each)) {
                $pointer = $text($each['pointer'] ?? null, '#');
                $errors[] = ['pointer' => $pointer, 'detail' => $text($each['detail'] ?? null)];
            }
        }
        return new self(
            $text($fields['type'] ?? null, 'about:blank'),
            $text($fields['title'] ?? null, 'Failed'),
            $text($fields['detail'] ?? null),
            $errors,
        );
    }
}
