<?php

declare(strict_types=1);

namespace Errands;

/**
 * A flow of many steps, written in PHP: `functions/flows/` does it.
 *
 *     $job = Flow::named('import')
 *         ->input(['file' => $key])
 *         ->call('rows', 'read-rows', ['file' => Flow::ref('input.file')])
 *         ->each('pictures', Flow::ref('rows'), 'image', ['source' => Flow::ref('item.source'), ...], allowFailures: 3)
 *         ->then('done', call: 'import-done', data: ['pictures' => Flow::ref('pictures')])
 *         ->onFailure('import-failed', ['why' => Flow::ref('failure.detail')])
 *         ->toJob();
 *
 * A step begins when those have ended that it refers to, or that `after` names; the others run beside it. Each method
 * gives another flow, and leaves this one as it is.
 */
final class Flow
{
    /**
     * @param array<string, mixed> $fields of `dev.errands.graph.requested.v1`
     * @param list<array<string, mixed>> $steps
     * @param list<array<string, mixed>> $failure
     */
    private function __construct(
        private readonly array $fields,
        private readonly array $steps = [],
        private readonly array $failure = [],
    ) {
    }

    /** A flow without a step yet; the name is for people. */
    public static function named(string $name): self
    {
        return new self(['name' => $name]);
    }

    /**
     * What stands for the result of a step, or a field in it, once it is there: `account`, `account.id`, `rows.0`; for
     * the flow's own `input.email`; within `each` for the `item`, or its `index`.
     *
     * @return array{'$ref': string}
     */
    public static function ref(string $path): array
    {
        return ['$ref' => $path];
    }

    /** What every step may refer to as `input`. */
    public function input(mixed $input): self
    {
        return new self(['input' => $input] + $this->fields, $this->steps, $this->failure);
    }

    /**
     * A job of Errands, by its name (`image`) or its event type.
     *
     * @param array<string, mixed> $data
     * @param list<string> $after steps that are to have ended
     * @param array<string, mixed> $more further fields of a step: `when`, `unless`, `within`, `undo`, `allow_failures`
     */
    public function job(string $name, string $job, array $data, array $after = [], array $more = []): self
    {
        return $this->with(['name' => $name, 'job' => $job] + self::given($data, $after) + $more);
    }

    /**
     * A step that the API does itself (see Steps); `undo` names the step that undoes it, should the flow fail.
     *
     * @param list<string> $after
     * @param array<string, mixed> $more
     */
    public function call(
        string $name,
        string $call,
        mixed $data = null,
        ?string $undo = null,
        array $after = [],
        array $more = [],
    ): self {
        $undoing = $undo === null ? [] : ['undo' => $undo];
        return $this->with(['name' => $name, 'call' => $call] + self::given($data, $after) + $undoing + $more);
    }

    /**
     * A step for each item of a list, or of what a reference stands for: a job, or with `call` one that the API does. Its
     * result is the list of results; with `allowFailures` so many of them are null, and more fail it.
     *
     * @param array<mixed> $items
     * @param list<string> $after
     */
    public function each(
        string $name,
        array $items,
        ?string $job = null,
        mixed $data = null,
        ?string $call = null,
        int $atOnce = 50,
        int $allowFailures = 0,
        array $after = [],
    ): self {
        $what = $call === null ? ['job' => $job] : ['call' => $call];
        $limits = ['at_once' => $atOnce] + ($allowFailures > 0 ? ['allow_failures' => $allowFailures] : []);
        return $this->with(['name' => $name] + $what + ['each' => $items] + self::given($data, $after) + $limits);
    }

    /** A step once all of those before it here have ended: a job, or with `call` one that the API does. */
    public function then(string $name, ?string $job = null, mixed $data = null, ?string $call = null): self
    {
        $before = array_column($this->steps, 'name');
        return $call === null
            ? $this->with(['name' => $name, 'job' => $job] + self::given($data, $before))
            : $this->call($name, $call, $data, after: $before);
    }

    /**
     * Wait for a signal (`POST /jobs/KEY/signal/NAME`), whose data is the result; it fails where none comes `within` 7d.
     *
     * @param list<string> $after
     */
    public function wait(string $name, string $signal, ?string $within = null, array $after = []): self
    {
        $limit = $within === null ? [] : ['within' => $within];
        return $this->with(['name' => $name, 'wait' => $signal] + self::given(null, $after) + $limit);
    }

    /** @param list<string> $after */
    public function sleep(string $name, float $hours, array $after = []): self
    {
        return $this->with(['name' => $name, 'hours' => $hours] + self::given(null, $after));
    }

    /** What the API is asked to do should the flow fail, before all is undone; `failure.detail` says why. */
    public function onFailure(string $call, mixed $data = null): self
    {
        $step = ['name' => 'failed-' . count($this->failure), 'call' => $call] + self::given($data, []);
        return new self($this->fields, $this->steps, [...$this->failure, $step]);
    }

    /** What the flow's completed event holds; without this that is every step's result. */
    public function result(mixed $result): self
    {
        return new self(['result' => $result] + $this->fields, $this->steps, $this->failure);
    }

    /** The job to emit. */
    public function toJob(): Job
    {
        $failure = $this->failure === [] ? [] : ['on_failure' => $this->failure];
        return Job::of('dev.errands.graph.requested.v1', $this->fields + ['steps' => $this->steps] + $failure);
    }

    /** @param array<string, mixed> $step */
    private function with(array $step): self
    {
        return new self($this->fields, [...$this->steps, $step], $this->failure);
    }

    /**
     * @param list<string> $after
     * @return array<string, mixed>
     */
    private static function given(mixed $data, array $after): array
    {
        return ($data === null ? [] : ['data' => $data]) + ($after === [] ? [] : ['after' => $after]);
    }
}
