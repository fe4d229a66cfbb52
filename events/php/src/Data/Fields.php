<?php

declare(strict_types=1);

namespace Errands\Data;

/** A part of a job's data, by the names that the contract has. What was not given is left out. */
abstract class Fields
{
    /** @param array<string, mixed> $fields */
    protected function __construct(private readonly array $fields)
    {
    }

    /** A value in which every part is an array, or an object where it is empty: as JSON wants it. */
    public static function plain(mixed $value): mixed
    {
        if ($value instanceof self) {
            $given = array_filter($value->fields, static fn (mixed $each): bool => $each !== null);
            return $given === [] ? new \stdClass() : self::plain($given);
        }
        return is_array($value) ? array_map(self::plain(...), $value) : $value;
    }

    /** An object in JSON also when it is empty. */
    protected static function map(mixed $value): mixed
    {
        return $value === [] ? new \stdClass() : $value;
    }
}
