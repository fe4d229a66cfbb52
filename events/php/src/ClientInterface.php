<?php

declare(strict_types=1);

namespace Errands;

/**
 * What an API asks of Errands: Client over HTTP, Testing\FakeClient in tests.
 *
 * A job is told by its id, as emit() returned it, or by the Job. An id is that of a job of the client's own source.
 */
interface ClientInterface
{
    /**
     * Hand the job over and return its id; once this returns, Errands has it on disk.
     *
     * @throws InvalidJob  the job cannot be done as it is: its data breaks the contract
     * @throws Refused     trying again is of no use
     * @throws Unreachable no acceptance after every retry; the same Job may be emitted again without harm
     */
    public function emit(Job $job): string;

    /**
     * The job as it is now.
     *
     * @throws UnknownJob
     * @throws Refused
     * @throws Unreachable
     */
    public function status(Job|string $job): JobStatus;

    /**
     * The job when it has ended, or as it is after so many seconds: ask isOpen(). It holds a worker of PHP meanwhile.
     *
     * @throws UnknownJob
     * @throws Refused
     * @throws Unreachable
     */
    public function wait(Job|string $job, float $seconds = 30.0): JobStatus;

    /**
     * Cancel an open job: it fails as cancelled, and what its function comes to is dropped. One that was cancelled stays so.
     *
     * @throws TooLate     it has ended, or its e-mail may be out
     * @throws UnknownJob
     * @throws Refused
     * @throws Unreachable
     */
    public function cancel(Job|string $job): JobStatus;

    /**
     * Have a job done anew that failed, was cancelled or lost, or is a dead letter.
     *
     * @throws TooLate     it is open, or completed
     * @throws UnknownJob
     * @throws Refused
     * @throws Unreachable
     */
    public function retry(Job|string $job): JobStatus;

    /**
     * Hand over a file of at most 32 MiB and return its key, for a later job: Input::key($key).
     *
     * @param string|resource $file a path, or a stream that can be rewound
     * @param ?string         $name what it is called; default: the path's last part
     * @throws Refused
     * @throws Unreachable
     */
    public function upload(mixed $file, ?string $name = null, float $timeoutSeconds = 60.0): string;

    /**
     * An address for a browser's EventSource, which tells what befalls the job until it ends; valid for a day.
     *
     * @throws UnknownJob
     * @throws Refused
     * @throws Unreachable
     */
    public function streamUrl(Job|string $job): string;
}
