<?php

declare(strict_types=1);

namespace Errands\Testing;

/**
 * Fails as PHPUnit's assertions do, where it is there, so that they are counted; else by an \AssertionError.
 *
 * @internal
 */
final class Assertions
{
    public static function holds(bool $holds, string $message): void
    {
        if (class_exists(\PHPUnit\Framework\Assert::class)) {
            \PHPUnit\Framework\Assert::assertTrue($holds, $message);
        } elseif (!$holds) {
            throw new \AssertionError($message);
        }
    }
}
