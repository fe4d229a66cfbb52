<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Job;

/**
 * Say something to the flow whose request has this id, and the source of this event.
 *
 * Three names are ours: `cancel` ends the flow, which undoes what it has done; `resume` has one that is held go on;
 * `complete` tells the end of a call that was answered 202 (`data` is a StepDone). Said before the flow has begun, it
 * is kept for it.
 */
final class SignalJob extends Job
{
    public const TYPE = 'dev.errands.signal.requested.v1';

    /** @param string $flow the id of the flow's request */
    public function flow(string $flow): static
    {
        return $this->put('flow', $flow);
    }

    /** @param string $name such as paid */
    public function name(string $name): static
    {
        return $this->put('name', $name);
    }

    public function data(mixed $data): static
    {
        return $this->put('data', $data);
    }
}
