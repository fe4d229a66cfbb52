<?php

declare(strict_types=1);

namespace Errands;

/** Thrown by a handler of Steps: the step can never be done, so that the flow fails, or does something else instead. */
final class StepRefused extends Exception
{
    /** @param string $kind a short slug, such as `no-room` */
    public function __construct(public readonly string $kind, string $detail)
    {
        parent::__construct($detail);
    }
}
